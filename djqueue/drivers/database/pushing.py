"""A push that fails says what is stored all the same, and what the database will never take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from django.db import DatabaseError

from djqueue.databases.errors import is_refusal, is_too_large, may_have_committed
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.database import unique
from djqueue.drivers.database.calls import Calls
from djqueue.drivers.database.vendors.dialect import LONGEST_DELAY
from djqueue.errors import QueueUnavailable

_TOO_LATE = "it would be due later than databases can tell the time."


class Pushing:
    """All jobs are stored or none. But where the database refuses some for their content the others
    are stored one by one, unless a transaction of the caller's is open, which is spoilt then.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._dialect = calls.dialect
        self._stored: list[str] = []
        self._refused: dict[str, str] = {}

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Do as `Driver.push`."""
        self._refused = {job.id: _TOO_LATE for job in jobs if not job.delay <= LONGEST_DELAY}
        if self._dialect.connection.in_atomic_block:
            if not self._refused and (reason := self._try(jobs, self._dialect.push)):
                self._refused = {jobs[0].id: reason} if len(jobs) == 1 else {}
                raise self._failure(reason)
        else:
            self._push([job for job in jobs if job.id not in self._refused])
        if self._refused:
            raise self._failure(next(iter(self._refused.values())))

    def push_unique(self, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
        """As `Driver.push_unique`; all are stored, or found to be there, or none."""
        holders: dict[str, str] = {}

        def push(jobs: Sequence[OutgoingJob]) -> None:
            holders.update(unique.push(self._calls, jobs))

        self._refused = {job.id: _TOO_LATE for job in jobs if not job.delay <= LONGEST_DELAY}
        if self._refused or (reason := self._try(jobs, push)):
            raise self._failure(_TOO_LATE if self._refused else reason or "")
        return holders

    def _push(self, jobs: Sequence[OutgoingJob]) -> None:
        reason = self._try(jobs, self._dialect.push) if jobs else None
        if reason is None:
            self._stored += [job.id for job in jobs]
        elif len(jobs) == 1:
            self._refused[jobs[0].id] = reason
        else:
            for job in jobs:
                self._push([job])

    def _try(
        self, jobs: Sequence[OutgoingJob], push: Callable[[Sequence[OutgoingJob]], object]
    ) -> str | None:
        """Store `jobs` together. Return why the database refuses at least one of them, or None."""
        connection, sent, bound = self._dialect.connection, False, None
        try:
            bound = self._calls.begun()
            connection.ensure_connection()
            sent = True
            push(jobs)
        except (DatabaseError, UnicodeError, OverflowError) as error:
            # A dead connection would fail the next push too; one in a transaction is left alone.
            connection.close_if_unusable_or_obsolete()
            if (reason := self._refusal(jobs, error)) is not None:
                return reason
            if not isinstance(error, DatabaseError):
                raise
            explained = self._calls.explain(error)
            if isinstance(explained, QueueUnavailable):
                explained.ambiguous = sent and may_have_committed(error)
                explained.stored = frozenset(self._stored)
                explained.refused = self._refused
            raise explained from error
        finally:
            if bound is not None:
                bound.end()
        return None

    def _refusal(self, jobs: Sequence[OutgoingJob], error: Exception) -> str | None:
        said = str(error) if is_refusal(error) else None
        # MySQL names a statement that is too large, or only ends the connection.
        if isinstance(error, DatabaseError) and (is_too_large(error) or may_have_committed(error)):
            try:
                return next(iter(self._dialect.too_large(jobs).values()), said)
            except DatabaseError:
                return said
        return said

    def _failure(self, reason: str) -> QueueUnavailable:
        return QueueUnavailable(
            f'Database "{self._dialect.alias}" refuses {len(self._refused) or "some"} of the jobs:'
            f" {reason}",
            ambiguous=False,
            stored=self._stored,
            refused=self._refused,
        )
