"""Moving waiting and delayed jobs: to another queue or connection, or to another priority or time.

Within one database a move is one transaction, and keeps all that is known of a job. From there to
another store the row of the job goes in the transaction that writes it to the outbox, and from
there it is pushed. A store that is no database is asked to remove the job while the row in the
outbox is held: so at any moment the job is in one of the two. If this process dies between these
two steps, or gets no answer, the job may be in both, and run twice. Not one whose end is written in
SQL: see `djqueue.dispatch.outbox.moved`.

A job keeps its id, its arguments and what it is bound to: a step of a chain goes on being one, and
a batch counts it once. Its attempts are counted from 0 again in another store.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.outbox.moved import on_its_way
from djqueue.dispatch.outbox.outbox import Written
from djqueue.drivers import unique_keys
from djqueue.drivers.base import Change, OutgoingJob, State
from djqueue.drivers.types import Placement
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.operations import results
from djqueue.operations.changes import by_slices, details
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.operations.words import grouped, since
from djqueue.payload import store as payload_store
from djqueue.payload.ids import new_push_id
from djqueue.payload.links import links_of, may_be_linked, with_links
from djqueue.results import rows as result_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from djqueue.drivers.base import Driver, StoredJob

__all__ = ["Destination", "move"]

AT_ONCE = 100
"""Jobs that are moved together to another store: within the seconds for which their rows in the
outbox belong to this process."""
HAS_KEY = Reason(
    _(
        "it is unique, and a unique job can be moved within one database only: delete it, and "
        "dispatch it again."
    ),
    _(
        "they are unique, and unique jobs can be moved within one database only: delete them, and "
        "dispatch them again."
    ),
)
TOO_LARGE = Reason(
    _("its payload is larger than the %(most)s bytes that the connection takes."),
    _("their payloads are larger than the connection takes."),
)
AS_ASKED = Reason(_("it is like that already."), _("they are like that already."))
PARKED = Reason(
    _("it waits in SQL until it is due, and cannot be moved from there."),
    _("they wait in SQL until they are due, and cannot be moved from there."),
)
MORE = 100
"""Characters by which a payload may grow on its way."""
MOVES = (State.WAITING, State.DELAYED)


class Destination(NamedTuple):
    """Where and when jobs are to run from now on. None leaves it as it is."""

    connection: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    """Seconds from now."""


class _Place(NamedTuple):
    """What the rows beside a job say of where it is."""

    connection: str
    queue: str | None


def move(
    targets: Sequence[Target],
    to: Destination,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Result:
    """Move waiting and delayed jobs. A store that does not answer is asked for no further jobs."""
    return by_slices(targets, AT_ONCE, partial(_moved, to), on_progress)


def _moved(to: Destination, connection: str, queue: str, some: Sequence[Target]) -> Result:
    """Move jobs of one queue."""
    try:
        source = queues[connection].driver
        goal = source if to.connection is None else queues[to.connection].driver
        target_queue = queues[goal.settings.name].check(queue if to.queue is None else to.queue)
        reason = _refusal(source, goal, to)
        if reason is not None:
            return Result((), [Left(reason, {}, each) for each in some])
        moves = _Moves(source, goal, queue, to._replace(queue=target_queue))
        return moves.move({each.id: each for each in some})
    except QueueError as error:
        stopped = Reason(str(error), str(error))
        left = [Left(stopped, {}, each) for each in some]
        return Result((), left, stopped if isinstance(error, QueueUnavailable) else None)


def _refusal(source: Driver, goal: Driver, to: Destination) -> Reason | None:
    """Return why no job can be moved so; None if they can."""
    name, can = goal.settings.name, goal.capabilities
    why = None
    if goal.passes_on:
        why = f'Connection "{name}" keeps no jobs itself. Name one of {", ".join(goal.members)}.'
    elif not can.keeps_jobs:
        why = f'Connection "{name}" keeps no jobs. Name another one.'
    elif to.priority is not None and (reason := can.why_not("priorities")):
        why = f'Connection "{name}" has no priorities: {reason}'
    return None if why is None else Reason(why, why)


class _Moves:
    """Jobs of one queue on their way to one place."""

    def __init__(self, source: Driver, goal: Driver, queue: str, to: Destination) -> None:
        self._source = source
        self._goal = goal
        self._queue = queue
        self._to = to
        self._inspector = source.inspector()
        self._leaves = goal.settings.name != source.settings.name or to.queue != queue

    def move(self, meant: dict[str, Target]) -> Result:
        """Move the jobs that wait or are delayed, and say why the others were left."""
        found = {job.key or job.id: job for job in self._inspector.find(list(meant))}
        parked = self._parked([id for id in meant if id not in found])
        kept = [Left(PARKED, {}, meant[id]) for id in parked]
        others = {id: target for id, target in meant.items() if id not in parked}
        left = [_left(target, found.get(id)) for id, target in others.items()]
        kept += [each for each in left if each is not None]
        able = {id: job for id, job in found.items() if job.state in MOVES}
        so_already = [id for id, job in able.items() if self._is_as_asked(job)]
        kept += [Left(AS_ASKED, {}, meant[id]) for id in so_already]
        able = {id: job for id, job in able.items() if id not in so_already}
        moved = self._place(able) if self._stays_in_one_database else None
        if moved is None:
            unique = {id for id, job in able.items() if _has_key(job)}
            kept += [Left(HAS_KEY, {}, meant[id]) for id in unique]
            large = {id for id, job in able.items() if self._is_too_large(job)} - unique
            kept += [Left(TOO_LARGE, {"most": self._most}, meant[id]) for id in large]
            able = {id: job for id, job in able.items() if id not in unique | large}
            moved = self._carry(able) if able else set()
        again = [id for id in able if id not in moved]
        after = {job.key or job.id: job for job in self._inspector.find(again)} if again else {}
        kept += [Left(results.CHANGED, details(job), meant[id]) for id, job in after.items()]
        kept += [Left(results.FINISHED, {}, meant[id]) for id in again if id not in after]
        return Result([meant[id] for id in meant if id in moved], kept)

    def _parked(self, ids: Sequence[str]) -> set[str]:
        """Return those of the jobs that are not in their store yet."""
        if not ids:
            return set()
        here = queues[self._source.settings.name].inspector
        return {job.key or job.id for job in here.find(ids)}

    @property
    def _most(self) -> str:
        return grouped(self._goal.capabilities.max_payload or 0)

    def _is_as_asked(self, job: StoredJob) -> bool:
        """Return whether a job is where it is to be, and how: another operator was faster."""
        to = self._to
        same_priority = to.priority is None or job.priority == to.priority
        return not self._leaves and to.delay is None and same_priority

    def _is_too_large(self, job: StoredJob) -> bool:
        most = self._goal.capabilities.max_payload
        return most is not None and len(job.payload) + MORE > most

    @property
    def _stays_in_one_database(self) -> bool:
        both = (self._source.settings, self._goal.settings)
        return all(each.jobs_in_sql for each in both) and both[0].database == both[1].database

    def _place(self, jobs: dict[str, StoredJob]) -> set[str] | None:
        with transaction.atomic(using=self._source.settings.database):
            place = Placement(self._to.queue, self._to.priority, self._to.delay)
            moved = self._inspector.place(self._queue, list(jobs), place)
            self._rename([jobs[id].id for id in moved or ()], self._there)
        return moved

    def _carry(self, jobs: dict[str, StoredJob]) -> set[str]:
        """Move jobs to another store, through the outbox."""
        alias = settings().shared_database
        name = self._goal.settings.name
        outgoing = {id: self._outgoing(job) for id, job in jobs.items()}
        seen = dict.fromkeys(jobs, "")
        if self._source.settings.jobs_in_sql:
            alias = self._source.settings.database
            written = Written(alias, name)
            with transaction.atomic(using=alias):
                moved = self._inspector.change(Change.DELETE, self._queue, seen)
                written.write([outgoing[id] for id in moved])
                self._rename([jobs[id].id for id in moved], self._there)
        else:
            written = Written(alias, name)
            with transaction.atomic(using=alias):
                written.write(list(outgoing.values()))
                self._rename([job.id for job in jobs.values()], self._there)
            moved = self._removed(written, seen, jobs)
        written.move([outgoing[id] for id in moved], self._goal)  # what is left a worker moves
        return moved

    def _removed(
        self, written: Written, seen: dict[str, str], jobs: dict[str, StoredJob]
    ) -> set[str]:
        """Remove jobs from a store that is no database. What a worker has taken meanwhile leaves
        the outbox again, and all if the store removed none. If it is not known what it removed,
        nothing does.
        """
        stopped: QueueUnavailable | None = None
        try:
            moved = self._inspector.change(Change.DELETE, self._queue, seen)
        except QueueUnavailable as error:
            if error.ambiguous:
                raise
            moved, stopped = set(), error
        for id in jobs.keys() - moved:
            written.withdraw(jobs[id].id)
        self._rename([jobs[id].id for id in jobs.keys() - moved], self._here, self._there)
        if stopped is not None:
            raise stopped
        return moved

    def _outgoing(self, job: StoredJob) -> OutgoingJob:
        to, push, text, batch = self._to, new_push_id(), job.payload, ""
        if may_be_linked(text):
            links = links_of(text)
            batch = "" if links.retried else links.batch
            if self._source.settings.jobs_in_sql:
                text = with_links(text, links._replace(push=push))
            else:
                text = on_its_way(text, push)
        delay = _delay(job) if to.delay is None else max(to.delay, 0.0)
        priority = job.priority if to.priority is None else to.priority
        queue = to.queue or job.queue
        return OutgoingJob(
            job.id, queue, job.name, text, delay, priority, push_id=push, batch=batch
        )

    @property
    def _here(self) -> _Place:
        return _Place(self._source.settings.name, self._queue)

    @property
    def _there(self) -> _Place:
        return _Place(self._goal.settings.name, self._to.queue)

    def _rename(self, ids: Sequence[str], to: _Place, noted: _Place | None = None) -> None:
        """Let the rows beside the jobs say where these are: before they are gone from where they
        were, or in the same transaction. With `noted`, only the rows that say that.
        """
        if not ids or not self._leaves:
            return
        place, said = to._asdict(), noted._asdict() if noted else {}
        keys = unique_keys.table(settings().shared_database)
        keys.filter(job__in=ids, **said).update(**place)
        if (alias := result_rows.store()) is not None:
            result_rows.table(alias).filter(pk__in=ids, **said).update(**place)
        payload_store.moved(ids, to.connection)


def _delay(job: StoredJob) -> float:
    """Return for how long a job is still delayed."""
    if job.state is not State.DELAYED or job.available_at is None:
        return 0.0
    return max(since(job.read_at or timezone.now(), job.available_at), 0.0)


def _has_key(job: StoredJob) -> bool:
    return may_be_linked(job.payload) and bool(links_of(job.payload).unique)


def _left(target: Target, job: StoredJob | None) -> Left | None:
    if job is None:
        return Left(results.FINISHED, {}, target)
    if job.state is State.RESERVED:
        return Left(results.RUNNING, details(job), target)
    if job.state is State.STUCK:
        return Left(results.STUCK, details(job), target)
    return None
