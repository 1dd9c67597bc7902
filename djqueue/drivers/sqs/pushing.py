"""What a push has to send, and what became of it: job by job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from djqueue.drivers.sqs import message
from djqueue.errors import QueueError, QueueUnavailable

MOST_NAMED = 20
"""Jobs in an error's text."""


class Entry:
    """One job of a batch."""

    def __init__(self, id: str, name: str, fields: Mapping[str, Any]) -> None:
        self.id = id
        self.name = name
        self.fields = fields
        """As ``SendMessageBatch`` takes them, without the ``Id``."""

    @cached_property
    def size(self) -> int:
        """The bytes that SQS counts."""
        return message.size(self.fields)


class Sent:
    """What is known about the jobs of one push."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.refused: dict[str, str] = {}
        """What SQS will never take, and why."""
        self._failed: dict[str, str] = {}
        """What it did not take this time, and why."""
        self._errors: list[QueueError] = []
        """Of requests that were not answered with yes and no."""
        self.away = False
        """SQS could not be reached: nothing else is sent."""

    def failed(self, entry: Entry, reason: str) -> None:
        """Note that SQS has refused the job for a reason that may pass."""
        self._failed[entry.id] = reason

    def broke(self, error: QueueError, *, away: bool) -> None:
        """Note that a request failed as a whole."""
        self._errors.append(error)
        self.away = away

    def raise_for(self, connection: str, count: int) -> None:
        """Raise `QueueUnavailable` unless all `count` jobs are stored; the only error there was, if
        it says everything.
        """
        if not (self._errors or self.refused or self._failed):
            return
        if self._errors and not (self.stored or self.refused or self._failed):
            raise self._errors[0]
        ambiguous = any(isinstance(e, QueueUnavailable) and e.ambiguous for e in self._errors)
        raise QueueUnavailable(
            f'SQS, connection "{connection}", has taken {len(self.stored)} of {count} jobs. '
            + " ".join([*map(str, self._errors), *_listed(self.refused), *_listed(self._failed)]),
            ambiguous=ambiguous,
            stored=self.stored,
            refused=self.refused,
        ) from (self._errors[0] if self._errors else None)


def _listed(reasons: Mapping[str, str]) -> Sequence[str]:
    if not reasons:
        return ()
    listed = "; ".join(f"{id}: {reason}" for id, reason in list(reasons.items())[:MOST_NAMED])
    more = f"; and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
    return (f"Not taken: {listed}{more}.",)
