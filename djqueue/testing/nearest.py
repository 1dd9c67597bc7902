"""What a failed assertion shows: the dispatches that come nearest to what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from djqueue.testing.recorded import Recorded

__all__ = ["nearest", "times_in_words"]

MOST_SHOWN = 10


def nearest(
    name: str,
    matching: Sequence[Recorded],
    same: Sequence[Recorded],
    recorded: Sequence[Recorded],
) -> str:
    """Lines about dispatches of the job called `name`: the `matching` ones, else those of the
    `same` job, else all that was `recorded`, those of like-named jobs first.
    """
    if matching:
        return _lines("Dispatched:", matching)
    if same:
        return _lines(f"Nearest, {_dispatches(len(same))} of it otherwise:", same)
    if recorded:
        by_name = sorted(recorded, key=lambda each: -_likeness(name, each)) if name else recorded
        return _lines("Dispatched instead, nearest first:" if name else "Dispatched:", by_name)
    return "Nothing was dispatched."


def _likeness(name: str, recorded: Recorded) -> float:
    return SequenceMatcher(None, name.lower(), type(recorded.job).__name__.lower()).ratio()


def _lines(title: str, shown: Sequence[Recorded]) -> str:
    lines = [title, *(f"  {each}" for each in shown[:MOST_SHOWN])]
    if len(shown) > MOST_SHOWN:
        lines.append(f"  and {len(shown) - MOST_SHOWN} more")
    return "\n".join(lines)


def _dispatches(number: int) -> str:
    return "1 dispatch" if number == 1 else f"{number} dispatches"


def times_in_words(number: int) -> str:
    """Return "once", "3 times" and the like."""
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number} times")
