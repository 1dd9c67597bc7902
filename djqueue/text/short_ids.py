"""Ids as people type them: a whole uuid, or enough of its beginning or end to be the only one."""

from __future__ import annotations

import re

from djqueue.errors import JobNotFound

__all__ = ["LENGTH", "SHORTEST", "as_begin", "as_end", "digits", "short"]

LENGTH = 32
"""Hexadecimal digits of a whole id."""

SHORTEST = 6
"""Digits that a part of an id has at least: what is shorter is more likely another number."""

_CUTS = (8, 12, 16, 20)
"""Where the canonical spelling has a hyphen, in digits."""

_DIGITS = re.compile(r"[0-9a-f]{1,32}\Z")


def digits(text: str) -> str:
    """The hexadecimal digits of an id or a part of one; `JobNotFound` for anything else."""
    found = text.strip().replace("-", "").lower()
    if _DIGITS.match(found):
        if len(found) >= SHORTEST:
            return found
        row = " Row numbers are for --range alone, as in --range 3-3." if found.isdigit() else ""
        raise JobNotFound(
            f'"{text}" is too short for a part of an id: give at least {SHORTEST} characters of '
            f"its end or its beginning.{row}"
        )
    raise JobNotFound(
        f'"{text}" is no id: an id is the uuid that dispatch() returned, or enough of its '
        "beginning or end to be the only one. It has the digits 0-9 and a-f only."
    )


def short(id: object) -> str:
    """What lists show of an id: its end. The beginning is the time, and many have the same."""
    return str(id)[-8:]


def as_begin(part: str) -> str:
    """`part` as a canonical uuid begins: ``"0123456789"`` is ``"01234567-89"``."""
    return _hyphenated(part, _CUTS)


def as_end(part: str) -> str:
    """`part` as a canonical uuid ends: ``"0123456789abcd"`` is ``"01-23456789abcd"``."""
    missing = LENGTH - len(part)
    return _hyphenated(part, tuple(cut - missing for cut in _CUTS if cut > missing))


def _hyphenated(part: str, cuts: tuple[int, ...]) -> str:
    pieces = [part[a:b] for a, b in zip((0, *cuts), (*cuts, LENGTH), strict=True)]
    return "-".join(filter(None, pieces))
