"""The outbox: jobs that are kept in SQL on their way to another store. Any worker moves them there.

It has two kinds of rows. *Parked* jobs are due later than their store can delay a job. The others
were written in the transaction that dispatched them (``OUTBOX: True``). Nothing is pushed inside a
transaction. `docs/internals.md` draws the states of a row; each arrow there is one statement of
`djqueue.dispatch.outbox.rows`.

After the commit the dispatcher takes the rows it has written. A worker takes rows that are due and
free, or held for more than `HOLD` seconds; `LONGEST_RUN` where the dispatcher runs the job. If a
process dies between the push and the last arrow, the job is pushed a second time, as the same push
of the same job.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import DatabaseError, DataError, transaction

from djqueue.composition import failures
from djqueue.conf import ConnectionSettings, Settings, settings
from djqueue.databases.errors import may_have_committed
from djqueue.databases.holding import new_holder
from djqueue.databases.now import UtcNow
from djqueue.dispatch.connections import driver_of, queues
from djqueue.dispatch.outbox import rows as outbox_rows
from djqueue.dispatch.outbox.moved import end_earlier_pushes
from djqueue.dispatch.outbox.pushing import Pushed, push
from djqueue.dispatch.outbox.rows import AGAIN, GRACE, HOLD, Taken
from djqueue.drivers import clock, driver_class, unique_keys
from djqueue.drivers.base import Reservation, RunHere
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.finish import failed
from djqueue.jobs import registry
from djqueue.runner.outcome import ErrorReport
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver, OutgoingJob

__all__ = [
    "AGAIN",
    "GRACE",
    "HOLD",
    "alias_for",
    "give_up_forgotten",
    "in_use",
    "late",
    "may_have_rows",
]
__all__ += ["Written", "move", "replay"]

logger = logging.getLogger("djqueue.worker")

SLICE = 100
"""Rows that are taken, pushed and removed together."""
BUDGET, OWN_BUDGET = 5.0, 0.25
"""Seconds that moving due jobs may take: in a child, and in the parent for its own store."""
PATIENCE = HOLD * 0.4
"""Seconds that one call of a push may wait for the store: its rows must still be held
afterwards."""
FRESH = 1.0
"""Seconds in which rows that were taken as they were written need not be taken again."""
LONGEST_RUN = 3600.0
"""Seconds for which a row is held while the process that dispatched its job runs it."""
MOST_LOGGED = 10_000
"""Characters of a payload that are written to the log."""
FORGOTTEN = 7 * 86_400.0
"""Seconds after which a due job fails if its connection is no longer in the settings."""


class _InUse:
    """Whether any connection `may_have_rows`; computed once for each version of the settings and
    for the first debounced job of the code.
    """

    def __init__(self) -> None:
        self._known: tuple[Settings | None, bool, bool] = (None, False, False)

    def __call__(self) -> bool:
        """Return whether any connection `may_have_rows`."""
        known, debounces = settings(), registry.debounces()
        if self._known[0] is not known or self._known[1] is not debounces:
            found = any(map(may_have_rows, known.connections.values()))
            self._known = (known, debounces, found)
        return self._known[2]


in_use = _InUse()


def may_have_rows(connection: ConnectionSettings) -> bool:
    """Return whether jobs of a connection may be in the outbox, but for steps of chains that wait
    for their turn.
    """
    try:
        driver = driver_class(connection)
        if connection.outbox or driver.parks:
            return True
        # What follows from jobs may be on its way to a store that is not the database of that.
        here = connection.jobs_in_sql and connection.database == settings().shared_database
        return driver.capabilities.keeps_jobs and (registry.debounces() or not here)
    except QueueError:
        return False  # its client library is not installed, so nothing here pushes to it


def alias_for(connection: str, aliases: Sequence[str]) -> str | None:
    """Return the alias whose transaction takes outbox rows for `connection`, or None.

    None where several transactions have to commit: a row in one does not know of the others.
    """
    known = settings()
    if len(aliases) != 1 or not known.connection(connection).outbox:
        return None
    return aliases[0] if aliases[0] in known.databases else None


def late(own: str) -> bool:
    """Return whether jobs for other connections than `own` are overdue: no worker took them."""
    known = settings()
    others = [name for name in known.connections if name != own]  # one look into the index for each
    missed = {"connection__in": others, "due_at__lte": UtcNow() - timedelta(seconds=GRACE)}
    return any(outbox_rows.table(alias).filter(**missed).exists() for alias in known.databases)


class Written:
    """The rows that one transaction wrote for a connection, for the dispatcher to move."""

    def __init__(self, alias: str, connection: str, *, at_once: bool = False) -> None:
        """`at_once`: the transaction is about to commit, and they are taken as they are written."""
        self._alias = alias
        self._connection = connection
        self._by = new_holder()
        self._parked: set[str] = set()
        self._hold = HOLD if at_once else None
        self._written_at = 0.0

    def write(self, jobs: Sequence[OutgoingJob]) -> None:
        """Write `jobs` in the open transaction. Jobs that the store would park are written parked,
        so that they are not written twice.
        """
        driver = queues[self._connection].driver
        parked = [job for job in jobs if job.delay > 0 and _is_parked(driver, job)]
        self._parked.update(job.id for job in parked)
        others = [job for job in jobs if job.id not in self._parked]
        self._written_at = clock.now()
        write = partial(outbox_rows.write, self._alias, self._connection, self._by)
        write(parked, parked=True)
        write(others, parked=False, hold=self._hold)

    def withdraw(self, id: str) -> None:
        """Delete the row of a job."""
        outbox_rows.withdraw(self._alias, self._by, id)

    def move(self, jobs: Sequence[OutgoingJob], driver: Driver) -> Pushed:
        """Push the jobs whose rows the writer still holds. The others are counted as stored: a
        worker has taken them, or they are parked.
        """
        left = [job for job in jobs if job.id not in self._parked]
        if self._hold is not None and clock.now() < self._written_at + FRESH:
            mine = {job.id for job in left}
        else:
            mine = outbox_rows.take(self._alias, self._by, [job.id for job in left])
        taken = [Taken(job, 0) for job in left if job.id in mine]
        moved = move(self._alias, self._by, self._connection, taken, driver) if taken else Pushed()
        others = {job.id for job in jobs} - mine
        return moved._replace(stored=moved.stored | others)

    @contextmanager
    def running(self, id: str) -> Iterator[bool]:
        """Hold a job's row while it runs in this process, then delete it. Yields whether the row
        was still ours to take.
        """
        yield bool(outbox_rows.take(self._alias, self._by, [id], LONGEST_RUN))
        outbox_rows.gone(self._alias, self._by, [id])


def _is_parked(driver: Driver, job: OutgoingJob) -> bool:
    try:
        return driver.would_park(job)
    except QueueError:
        return False  # unknown now; the driver parks the job at the push if it has to


# -- moving ----------------------------------------------------------------------------------------


def replay(limit: int = SLICE, *, driver: Driver | None = None) -> int:
    """Move due jobs of every database to their stores, `limit` at a time. Return how many moved.

    With `driver`, only jobs of its connection, pushed through it. No further slice is begun after
    `BUDGET` seconds, or `OWN_BUDGET` with a driver.
    """
    end = time.monotonic() + (BUDGET if driver is None else OWN_BUDGET)
    moved = 0
    for alias in settings().databases:
        for connection in _connections(driver):
            while True:
                done, more = _replay(alias, connection, limit, driver)
                moved += done
                if not more or time.monotonic() > end:
                    break
    return moved


def _connections(driver: Driver | None) -> list[str]:
    return list(settings().connections) if driver is None else [driver.settings.name]


def _replay(alias: str, connection: str, limit: int, driver: Driver | None) -> tuple[int, bool]:
    """Move one slice. Return how many moved, and whether more may be movable now."""
    if driver is None and not outbox_rows.due(alias, connection).exists():
        return 0, False
    by = new_holder()
    try:
        through = driver or queues[connection].driver
    except QueueError as error:
        logger.warning('The outbox holds due jobs for connection "%s": %s', connection, error)
        return 0, False
    taken = outbox_rows.take_due(alias, by, connection, limit)
    if not taken:
        return 0, False
    moved = move(alias, by, connection, taken, through)
    if moved.error is not None:
        left = len(taken) - len(moved.stored) - len(moved.refused)
        logger.warning(
            'The outbox holds %d due jobs that could not be pushed to connection "%s": %s Trying '
            "again in %g s.",
            left,
            connection,
            moved.error,
            AGAIN,
        )
    return len(moved.stored), moved.error is None and len(taken) == limit


def move(
    alias: str,
    by: str,
    connection: str,
    taken: Sequence[Taken],
    driver: Driver,
) -> Pushed:
    """Push jobs whose rows `by` holds, and record the result: rows of stored jobs are deleted,
    refused jobs become failed jobs, unique jobs whose keys others have are dropped, and the other
    rows are free again. With the error `RunHere` the others stay held.
    """
    taken = end_earlier_pushes(alias, by, taken)
    try:
        if driver.shares_transaction_with(alias) and _move_together(alias, by, taken, driver):
            return Pushed(frozenset(each.job.id for each in taken))
    except QueueUnavailable as error:
        return Pushed(error=error)  # the rows are gone, or held for `HOLD` seconds
    moved = push(driver, [each.job for each in taken], PATIENCE)
    outbox_rows.gone(alias, by, moved.stored)
    if moved.refused:
        _give_up(alias, by, connection, taken, moved.refused)
    if moved.kept_out:
        outbox_rows.gone(alias, by, moved.kept_out)
    if moved.error is not None and not isinstance(moved.error, RunHere):
        over = moved.stored | moved.refused.keys() | moved.kept_out.keys()
        outbox_rows.put_back(alias, by, [e.job.id for e in taken if e.job.id not in over])
    return moved


def _move_together(alias: str, by: str, taken: Sequence[Taken], driver: Driver) -> bool:
    """Move jobs to their store in the transaction that deletes their rows, so that none runs twice
    where this process dies in between. Return False, having changed nothing, if that cannot be done
    for all of them. Raises `QueueUnavailable` if the answer to the commit is lost.
    """
    if any(each.job.unique is not None for each in taken):
        return False
    try:
        with transaction.atomic(using=alias):
            mine = outbox_rows.give_up(alias, by, [each.job.id for each in taken])
            driver.push([each.job for each in taken if each.job.id in mine])
    except Exception as error:  # `push` meets it again, and finds out which job it is about
        if isinstance(error, DatabaseError) and may_have_committed(error):
            raise QueueUnavailable(str(error), ambiguous=True) from error
        return False
    return True


# -- what can never be moved -----------------------------------------------------------------------

_FORGOTTEN = ErrorReport(
    "djqueue.errors.UnknownConnection",
    "It waited in the outbox for a connection that is no longer in the settings.",
    "",
)


def _give_up(
    alias: str,
    by: str,
    connection: str,
    taken: Sequence[Taken],
    refused: Mapping[str, ErrorReport],
) -> None:
    """Store the refused jobs as failed jobs, each with its reason, and what follows from that."""
    with transaction.atomic(using=alias):
        mine = outbox_rows.give_up(alias, by, refused)
        left = [each for each in taken if each.job.id in mine]
        _fail(connection, left, refused)
        given_up = {each.job.id: (each.job, refused[each.job.id].message) for each in left}
        failures.write_failures(alias, given_up, driver_of)


def _fail(connection: str, taken: Sequence[Taken], refused: Mapping[str, ErrorReport]) -> None:
    """Store the refused jobs as failed jobs."""
    jobs = []
    known = settings()
    for job, number in taken:
        if (error := refused.get(job.id)) is None:
            continue
        if job.unique is not None:
            unique_keys.free(known.shared_database, job.id, job.unique.key)
        logger.error(
            'FAILED %s %s never reached connection "%s", queue %s: %s%s',
            job.name,
            job.id,
            connection,
            job.queue,
            error.message,
            _left_behind(job),
        )
        held = Reservation(job.id, job.queue, job.name, job.payload, 0, 0, "", None)
        jobs.append(failed.GivenUp(held, error, "", number))
    try:
        with transaction.atomic(using=known.failed_jobs or known.shared_database):
            failed.record(connection, jobs)
    except DataError:
        failed.record(connection, [job._replace(plain=True) for job in jobs])


def _left_behind(job: OutgoingJob) -> str:
    """Return the payload for the log where failed jobs are not kept: it is nowhere else."""
    if settings().failed_jobs is not None:
        return ""
    return f" (No failed jobs are kept. Its payload: {masked_text(job.payload, MOST_LOGGED)})"


def give_up_forgotten(limit: int = SLICE) -> int:
    """Fail jobs that have been due for `FORGOTTEN` seconds and whose connection is not in the
    settings. Return how many.
    """
    known = list(settings().connections)
    before = UtcNow() - timedelta(seconds=FORGOTTEN)
    given_up = 0
    for alias in settings().databases:
        old = outbox_rows.table(alias).filter(due_at__lt=before).exclude(connection__in=known)
        counts = Counter(old.values_list("connection", flat=True)[:limit])
        for connection, count in counts.items():
            by = new_holder()
            taken = outbox_rows.take_due(alias, by, connection, count)
            refused = {each.job.id: _FORGOTTEN for each in taken}
            if taken:
                _give_up(alias, by, connection, taken, refused)
            given_up += len(taken)
    return given_up
