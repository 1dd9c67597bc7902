"""Numbers of things in messages."""

from __future__ import annotations


def number_of(number: int, noun: str, many: str = "") -> str:
    """``"1 failed job"``, ``"12,431 failed jobs"``; `many` is the plural where it is no mere s."""
    return f"{number:,} {noun if number == 1 else many or f'{noun}s'}"
