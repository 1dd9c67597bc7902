"""What a finish needs of the program that it is part of: an answer of a database, and a push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from django.db import DatabaseError

from djqueue.databases.errors import is_refusal
from djqueue.drivers.base import OutgoingJob
from djqueue.errors import QueueUnavailable, Unsupported

T = TypeVar("T")


class Ask(Protocol):
    """Asks a database something that is not about the jobs of the driver."""

    def __call__(self, alias: str, question: Callable[[], T], /) -> T:
        """Return the answer. Raises `QueueUnavailable` if there is none."""


def ask_directly(alias: str, question: Callable[[], T]) -> T:
    """Ask on this thread's own connection."""
    try:
        return question()
    except DatabaseError as error:
        if is_refusal(error):
            raise
        raise QueueUnavailable(f'Database "{alias}" is unavailable: {error}') from error


Push = Callable[[str, Sequence[tuple[str, OutgoingJob]]], None]
"""Pushes jobs, each behind the name of its connection, as a part of the open transaction of an
alias."""


def refuse(alias: str, jobs: Sequence[tuple[str, OutgoingJob]]) -> None:
    """Raise `Unsupported` if there are any jobs: no follower can push jobs here."""
    if jobs:
        raise Unsupported("Jobs that follow from an end cannot be pushed here.")
