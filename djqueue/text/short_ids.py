"""Ids as people type them: a whole uuid, or a part of its beginning or end that is unique."""

from __future__ import annotations

import re

from djqueue.errors import JobNotFound

__all__ = ["LENGTH", "SHORTEST", "as_begin", "as_end", "digits", "short"]

LENGTH = 32
"""Hexadecimal digits of a whole id."""

SHORTEST = 6
"""The fewest digits of a part of an id; a shorter one is more likely another number."""

_CUTS = (8, 12, 16, 20)
"""Positions of the hyphens in the canonical spelling, in digits."""

_DIGITS = re.compile(r"[0-9a-f]{1,32}\Z")


def digits(text: str) -> str:
    """Return the hexadecimal digits of an id or a part of one. Raises `JobNotFound`."""
    found = text.strip("… ").replace("-", "").lower()
    if _DIGITS.match(found):
        if len(found) >= SHORTEST:
            return found
        row = (
            " Row numbers are for queue_retry --range alone, as in --range 3-3."
            if found.isdigit()
            else ""
        )
        raise JobNotFound(
            f'"{text}" is too short for a part of an id: give at least {SHORTEST} characters of '
            f"its end or beginning.{row}"
        )
    raise JobNotFound(
        f'"{text}" is not a job id: give the uuid that dispatch() returned, or a part of its '
        "beginning or end that is unique. It has the digits 0-9 and a-f only."
    )


def short(id: object) -> str:
    """Return the end of an id, for lists. Its beginning is a time, which many ids share."""
    return str(id)[-8:]


def as_begin(part: str) -> str:
    """Return `part` as the beginning of a canonical uuid: ``0123456789`` as ``01234567-89``."""
    return _hyphenated(part, _CUTS)


def as_end(part: str) -> str:
    """Return `part` as the end of a canonical uuid: ``0123456789abcd`` as ``01-23456789abcd``."""
    missing = LENGTH - len(part)
    return _hyphenated(part, tuple(cut - missing for cut in _CUTS if cut > missing))


def _hyphenated(part: str, cuts: tuple[int, ...]) -> str:
    pieces = [part[a:b] for a, b in zip((0, *cuts), (*cuts, LENGTH), strict=True)]
    return "-".join(filter(None, pieces))
