"""How the queues are doing: what they hold, who reads them, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.dispatch.connections import QueueConnection, members, queues
from djqueue.errors import QueueError
from djqueue.operations.reports.deadlines import in_thread
from djqueue.operations.reports.queues.problems import Problem, problems
from djqueue.operations.reports.queues.queue_status import QueueStatus
from djqueue.signals import announce, queue_busy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from djqueue.drivers.types import Census
    from djqueue.models import Worker

__all__ = [
    "Busy",
    "Report",
    "alive",
    "monitor",
    "report",
    "split_target",
]


class Report(NamedTuple):
    """What `report` found."""

    queues: list[QueueStatus]
    workers: list[Worker]
    problems: list[Problem]
    unreachable: list[str]
    """Why connections could not be asked."""


class Busy(NamedTuple):
    """A queue that `monitor` looked at."""

    status: QueueStatus
    over: tuple[str, ...]
    """Which thresholds are exceeded: ``max``, ``max_age``."""


def report(
    connection: str | None = None,
    *,
    within: float | None = None,
    at_most: int | None = None,
    pauses: Iterable[controls.Pause] | None = None,
) -> Report:
    """Return the state of every queue of one connection, or of all connections that keep jobs.

    With `within`, stores that are no database are asked at the same time, and each has that many
    seconds to answer. With `at_most`, no more jobs than that are counted one by one in any state of
    a queue, so that it is fast however many there are. `pauses` are those that there are, for a
    caller that has asked for them.
    """
    found_pauses = controls.pauses() if pauses is None else pauses
    asked: list[_Asked] = []
    unreachable = []
    for name in _asked(connection):
        try:
            capabilities = queues[name].driver.capabilities
            if connection is not None or not (capabilities.inline or capabilities.discards):
                asked.append(_ask(name, found_pauses, within, at_most))
        except (QueueError, DatabaseError) as error:
            unreachable.append(_unreachable(name, error))
    found: list[QueueStatus] = []
    for each in asked:
        try:
            found += _statuses(each)
        except QueueError as error:  # also where it is a database
            unreachable.append(_unreachable(each.connection, error))
    workers = [worker for each in asked for worker in each.workers]
    return Report(
        found, workers, [each for one in found for each in problems(one, at_most)], unreachable
    )


def _unreachable(connection: str, error: Exception) -> str:
    return f"Connection {connection} could not be asked. {error}"


def _asked(connection: str | None) -> list[str]:
    """Return the connections that keep the jobs of a connection, or of all. One whose driver cannot
    be made stands for itself.
    """
    found: dict[str, None] = {}
    for name in [connection] if connection is not None else list(queues):
        try:
            found.update(dict.fromkeys(members(name)))
        except QueueError:
            found[name] = None
    return list(found)


class _Asked(NamedTuple):
    """A connection whose store is being asked, and what SQL says of it."""

    connection: str
    workers: Sequence[Worker]
    pauses: Mapping[str, controls.Pause]
    answer: Callable[[], Mapping[str, Census]]
    """Return what the store holds, by queue. Raises `QueueError`."""


def _ask(
    name: str, pauses: Iterable[controls.Pause], within: float | None, at_most: int | None
) -> _Asked:
    asked = queues[name]
    living = alive(asked)
    paused = {
        each.queue: each for each in pauses if each.connection in (controls.EVERY_QUEUE, name)
    }
    known = {*_read_by(living), *paused} - {controls.EVERY_QUEUE}
    look = partial(_census, name, known, at_most)
    if within is not None and not asked.settings.jobs_in_sql:
        return _Asked(name, living, paused, in_thread(look, name, within))
    return _Asked(name, living, paused, look)


def _census(name: str, known: Iterable[str], at_most: int | None) -> Mapping[str, Census]:
    return queues[name].inspector.census(known, at_most)  # of this thread


def _read_by(workers: Iterable[Worker]) -> list[str]:
    return [queue for worker in workers for queue in worker.queues.split(",")]


def _statuses(asked: _Asked) -> list[QueueStatus]:
    read = _read_by(asked.workers)
    every = asked.pauses.get(controls.EVERY_QUEUE)
    return [
        QueueStatus(
            connection=asked.connection,
            queue=queue,
            counts=held.counts,
            paused=every is not None or queue in asked.pauses,
            workers=read.count(queue),
            stuck=held.stuck,
            # That of every queue first: as long as it lasts, the queue's own cannot be ended alone.
            pause=every or asked.pauses.get(queue),
        )
        for queue, held in asked.answer().items()
    ]


def alive(asked: QueueConnection) -> list[Worker]:
    """Return the workers of a connection that are alive, by the clock of the database to which they
    report.
    """
    from djqueue.models import Worker

    own = asked.settings.database if asked.settings.jobs_in_sql else settings().job_database
    rows = Worker.objects.using(own).filter(connection=asked.name, alive_until__gt=UtcNow())
    return list(rows.order_by("name", "id"))


def monitor(
    targets: Sequence[str], max_size: int | None = None, max_age: float | None = None
) -> list[Busy]:
    """Look at queues, given as ``connection:queue`` or ``queue``, and announce `queue_busy` for
    each that has `max_size` waiting jobs or more, or one that waits for `max_age` seconds or more.
    """
    found = []
    for name, queue in [place for target in targets for place in split_target(target)]:
        asked = queues[name]
        one = QueueStatus(
            asked.name,
            queue,
            asked.inspector.counts(queue),
            controls.is_paused(asked.name, queue),
            0,
        )
        size, oldest = one.counts.waiting or 0, one.oldest
        over = []
        if max_size is not None and size >= max_size:
            over.append("max")
        if max_age is not None and oldest is not None and oldest >= max_age:
            over.append("max_age")
        if over:
            announce(
                queue_busy,
                type(asked.driver),
                connection=asked.name,
                queue=queue,
                size=size,
                oldest=oldest,
            )
        found.append(Busy(one, tuple(over)))
    return found


def split_target(text: str) -> list[tuple[str, str]]:
    """Return connection and queue of ``connection:queue``, or of a queue of the default connection;
    one pair for each member if the connection passes its jobs on. Raises `UnknownConnection`, and
    `QueueError` for a text that cannot be a queue.
    """
    name, colon, queue = text.rpartition(":")
    asked = queues[name if colon else None]
    return [(member, asked.check(queue)) for member in asked.members]
