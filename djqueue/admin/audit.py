"""Who did what: rows of the admin's own log, and a line on the logger ``djqueue.audit``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import router

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import Model
    from django.http import HttpRequest

    from djqueue.admin.outcome import Named

logger = logging.getLogger("djqueue.audit")

SINGLE_ROWS = 100
"""More objects than this are one row that says how many."""


def log_alias() -> str:
    """The database of the admin's log. An action's transaction covers it as well."""
    return router.db_for_write(LogEntry)


class Act(NamedTuple):
    """The last thing that somebody did to a row here."""

    verb: str
    user: str
    at: datetime


def last_act(model: type[Model], pk: int) -> Act | None:
    """Who was faster, for the words about a row that is gone."""
    rows = LogEntry.objects.using(log_alias()).filter(
        content_type_id=ContentType.objects.get_for_model(model).pk, object_id=str(pk)
    )
    entry = rows.select_related("user").order_by("-action_time").first()
    if entry is None:
        return None
    try:
        verb = str(json.loads(entry.change_message)["verb"])
    except (ValueError, TypeError, KeyError):  # somebody else's entry
        verb = ""
    return Act(verb, entry.user.get_username(), entry.action_time)


def record(
    request: HttpRequest,
    model: type[Model],
    flag: int,
    verb: str,
    changed: Sequence[Named],
    kept: int,
    alias: str,
) -> None:
    """Log an action on `changed` rows; to be called within the action's own transaction."""
    if not changed:
        return
    common: dict[str, Any] = {
        "user_id": request.user.pk,
        "content_type_id": ContentType.objects.get_for_model(model).pk,
        "action_flag": flag,
    }
    if len(changed) <= SINGLE_ROWS:
        rows = [
            LogEntry(
                **common,
                object_id=str(row.pk),
                object_repr=row.label[:200],
                change_message=json.dumps({"verb": verb, "database": alias}),
            )
            for row in changed
        ]
    else:
        summary = {"verb": verb, "database": alias, "changed": len(changed), "skipped": kept}
        name = f"{len(changed)} {model._meta.verbose_name_plural}"
        # Without an object id: the admin's front page would link to an object that is not there.
        rows = [LogEntry(**common, object_repr=name[:200], change_message=json.dumps(summary))]
    LogEntry.objects.using(log_alias()).bulk_create(rows)
    logger.info(
        "%s %s: %d changed, %d left, database %s, first: %s",
        request.user.get_username(),
        verb,
        len(changed),
        kept,
        alias,
        changed[0].label,
    )
