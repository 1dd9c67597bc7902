"""Who did what: one record on the logger ``djqueue.audit`` for each act of an operator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MOST_IDS", "record"]

logger = logging.getLogger("djqueue.audit")

MOST_IDS = 100
"""Ids that a record names."""


def record(
    who: str,
    verb: str,
    changed: int,
    *,
    kept: int = 0,
    filters: Mapping[str, object] | None = None,
    ids: Sequence[str] = (),
) -> None:
    """Write the act to the log. `filters` chose the jobs; `ids` are their ids, as far as they are
    known.
    """
    where = " ".join(f"{key}={value}" for key, value in (filters or {}).items() if value)
    named = ", ".join(one_line(each) for each in ids[:MOST_IDS])
    more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
    logger.info(
        "%s %s: %d changed, %d left; by %s; %s%s",
        one_line(who) or "an unknown user",
        verb,
        changed,
        kept,
        one_line(masked_text(where)) or "id",
        named or "ids not known",
        more,
    )
