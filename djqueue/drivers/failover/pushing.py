"""Finding the store that takes the jobs, and telling when it is another one than before."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from djqueue.drivers.base import RunHere
from djqueue.drivers.failover.breaker import breakers
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.signals import announce, queue_failed_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.drivers.base import Driver, OutgoingJob

__all__ = ["FirstTaker"]

logger = logging.getLogger("djqueue")

REST_PER_SECOND = 10
"""A store that hangs may cost a tenth of the time, however long its own timeout is."""


MOST_NAMED = 1_000
"""Ids in a warning: what one push of `dispatch_many` has."""


class Failure(NamedTuple):
    """A member that did not take the jobs."""

    member: str
    error: QueueUnavailable
    first_time: bool
    """It had taken the ones before."""


class FirstTaker:
    """Pushes to the first of `members` that takes the jobs."""

    def __init__(
        self,
        name: str,
        members: Sequence[Driver],
        last_resort: str | None,
        *,
        sender: Any,
        probe_after: float,
        fail_over_if_ambiguous: bool,
    ) -> None:
        self._name = name
        self._members = members
        self._last_resort = last_resort
        self._sender = sender
        self._probe_after = probe_after
        self._fail_over_if_ambiguous = fail_over_if_ambiguous

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Push. Raises `RunHere` if no store took the jobs and there is a last resort,
        `QueueUnavailable` if there is none. What a store has of a push that failed is not passed on
        to another one.
        """
        left = list(jobs)
        failures: list[Failure] = []
        for member in self._in_turn():
            began = time.monotonic()
            try:
                member.push(left)
            except QueueUnavailable as error:
                there = [job for job in left if job.id in error.stored]
                left = [job for job in left if job.id not in error.stored]
                if there:
                    self._taken(member.settings.name, failures, there)
                failures.append(self._failure(member, error, left, time.monotonic() - began))
                self._refuse_doubt(failures[-1], jobs, left)
                if not left:
                    return
            except QueueError as error:  # of the jobs' own, and some are stored by now
                if len(left) == len(jobs):
                    raise
                stored = _others(jobs, left)
                raise QueueUnavailable(str(error), ambiguous=False, stored=stored) from error
            else:
                self._taken(member.settings.name, failures, left)
                return
        self._not_taken(failures, jobs, left)

    def _in_turn(self) -> Iterator[Driver]:
        """Return the stores to ask. One that rests is asked after the others, before a job is
        lost.
        """
        resting = []
        for member in self._members:
            if breakers.of(member.settings.name).allows(self._probe_after):
                yield member
            else:
                resting.append(member)
        if self._last_resort is None:
            yield from resting

    def _failure(
        self, member: Driver, error: QueueUnavailable, left: Sequence[OutgoingJob], took: float
    ) -> Failure:
        name = member.settings.name
        breaker = breakers.of(name)
        if all(job.id in error.refused for job in left):
            breaker.worked()  # it answers, and has nothing against other jobs
            return Failure(name, error, first_time=True)
        rest = max(self._probe_after, took * REST_PER_SECOND)
        return Failure(name, error, breaker.failed(rest))

    def _refuse_doubt(
        self, failure: Failure, jobs: Sequence[OutgoingJob], left: Sequence[OutgoingJob]
    ) -> None:
        """Raise the error if a store may have stored some jobs, and these may not be passed on."""
        error = failure.error
        if left and error.ambiguous and not self._fail_over_if_ambiguous:
            raise QueueUnavailable(
                f'{error} It is not known whether "{failure.member}" has stored {_listed(left)}, '
                f'so "{self._name}" did not fail over: FAIL_OVER_IF_UNSURE is False.',
                stored=_others(jobs, left),
                refused=error.refused,
            ) from error

    def _taken(self, used: str, failures: list[Failure], jobs: Sequence[OutgoingJob]) -> None:
        if breakers.of(used).worked():
            logger.info('Connection "%s" takes jobs of "%s" again.', used, self._name)
        for failure in failures:
            self._tell(failure, used, jobs)

    def _not_taken(
        self, failures: list[Failure], jobs: Sequence[OutgoingJob], left: Sequence[OutgoingJob]
    ) -> NoReturn:
        reasons = " ".join(f"{failure.member}: {failure.error}" for failure in failures)
        what = "the job" if len(jobs) == 1 else f"{len(left):,} of {len(jobs):,} jobs"
        text = f'No member of connection "{self._name}" took {what}. {reasons}'
        cause = failures[-1].error if failures else None
        stored = _others(jobs, left)
        if self._last_resort is not None:
            for failure in failures:
                self._tell(failure, self._last_resort, left)
            raise RunHere(text, self._last_resort, stored) from cause
        unsure = any(failure.error.ambiguous for failure in failures)
        raise QueueUnavailable(
            text, ambiguous=unsure, stored=stored, refused=_refused_by_all(failures, left)
        ) from cause

    def _tell(self, failure: Failure, used: str, jobs: Sequence[OutgoingJob]) -> None:
        """Report once that a store begins to fail, and each failure that may double a job."""
        failed, error, first_time = failure
        if not (first_time or error.ambiguous):
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


def _others(jobs: Sequence[OutgoingJob], left: Sequence[OutgoingJob]) -> set[str]:
    """Return the ids of `jobs` that are not `left`: they are in a store."""
    return {job.id for job in jobs} - {job.id for job in left}


def _refused_by_all(failures: Sequence[Failure], left: Sequence[OutgoingJob]) -> dict[str, str]:
    """Return the jobs that no member will ever take, with the reason of each member."""
    return {
        job.id: " ".join(f"{each.member}: {each.error.refused[job.id]}" for each in failures)
        for job in left
        if failures and all(job.id in each.error.refused for each in failures)
    }


def _listed(jobs: Sequence[OutgoingJob]) -> str:
    """Return the jobs by name and id, so that a job that ran twice can be explained."""
    named = ", ".join(f"{job.name} {job.id}" for job in jobs[:MOST_NAMED])
    more = len(jobs) - MOST_NAMED
    return f"{named} and {more:,} others" if more > 0 else named
