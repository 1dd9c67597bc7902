"""Finding the store that takes the jobs, and telling when it is another one than before."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from djqueue.drivers.base import RunHere
from djqueue.drivers.failover.breaker import breakers
from djqueue.errors import QueueUnavailable
from djqueue.signals import announce, queue_failed_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.drivers.base import Driver, OutgoingJob

__all__ = ["Switch"]

logger = logging.getLogger("djqueue")

REST_PER_SECOND = 10
"""A store that hangs may cost a tenth of the time, however long its own timeout is."""


class Failure(NamedTuple):
    """A member that did not take the jobs."""

    member: str
    error: QueueUnavailable
    news: bool
    """It had taken the ones before."""


class Switch:
    """Pushes to the first of `stores` that takes the jobs."""

    def __init__(
        self,
        name: str,
        stores: Sequence[Driver],
        last_resort: str | None,
        *,
        sender: Any,
        probe_after: float,
        if_unsure: bool,
    ) -> None:
        self._name = name
        self._stores = stores
        self._last_resort = last_resort
        self._sender = sender
        self._probe_after = probe_after
        self._if_unsure = if_unsure

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """`RunHere` where no store took them and there is a last resort, `QueueUnavailable` where
        there is none.
        """
        failures: list[Failure] = []
        for store in self._in_turn():
            began = time.monotonic()
            try:
                store.push(jobs)
            except QueueUnavailable as error:
                failures.append(self._failure(store, error, time.monotonic() - began))
            else:
                self._taken(store.settings.name, failures, jobs)
                return
        self._not_taken(failures, jobs)

    def _in_turn(self) -> Iterator[Driver]:
        """The stores to ask. One that rests is asked after the others, before a job is lost."""
        resting = []
        for store in self._stores:
            if breakers.of(store.settings.name).allows(self._probe_after):
                yield store
            else:
                resting.append(store)
        if self._last_resort is None:
            yield from resting

    def _failure(self, store: Driver, error: QueueUnavailable, took: float) -> Failure:
        name = store.settings.name
        rest = max(self._probe_after, took * REST_PER_SECOND)
        news = breakers.of(name).failed(rest)
        if error.ambiguous and not self._if_unsure:
            raise QueueUnavailable(
                f'{error} It is not known whether "{name}" has stored the job, so '
                f'"{self._name}" did not fail over: FAIL_OVER_IF_UNSURE is False.'
            ) from error
        return Failure(name, error, news)

    def _taken(self, used: str, failures: list[Failure], jobs: Sequence[OutgoingJob]) -> None:
        if breakers.of(used).worked():
            logger.info('Connection "%s" takes jobs of "%s" again.', used, self._name)
        for failure in failures:
            self._tell(failure, used, jobs)

    def _not_taken(self, failures: list[Failure], jobs: Sequence[OutgoingJob]) -> NoReturn:
        reasons = " ".join(f"{failure.member}: {failure.error}" for failure in failures)
        text = f'No member of connection "{self._name}" took the job. {reasons}'
        cause = failures[-1].error if failures else None
        if self._last_resort is not None:
            for failure in failures:
                self._tell(failure, self._last_resort, jobs)
            raise RunHere(text, self._last_resort) from cause
        unsure = any(failure.error.ambiguous for failure in failures)
        raise QueueUnavailable(text, ambiguous=unsure) from cause

    def _tell(self, failure: Failure, used: str, jobs: Sequence[OutgoingJob]) -> None:
        """Once for a store that begins to fail, and of each failure that may double a job."""
        failed, error, news = failure
        if not (news or error.ambiguous):
            return
        doubt = f' It is not known whether "{failed}" has stored them: they may run twice.'
        logger.warning(
            'Connection "%s" failed over from "%s" to "%s" with %s: %s%s',
            self._name,
            failed,
            used,
            _listed(jobs),
            error,
            doubt if error.ambiguous else "",
        )
        announce(
            queue_failed_over,
            self._sender,
            connection=self._name,
            failed=failed,
            used=used,
            error=error,
        )


def _listed(jobs: Sequence[OutgoingJob], most: int = 5) -> str:
    """The jobs by name and id, so that one that ran twice can be explained."""
    named = ", ".join(f"{job.name} {job.id}" for job in jobs[:most])
    return named if len(jobs) <= most else f"{named} and {len(jobs) - most:,} others"
