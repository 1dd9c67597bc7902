"""What operators ask of workers: pausing queues, restarting, and stopping jobs that run. Rows of
`djqueue.models.Control`.

They are in SQL for every kind of connection, so that flushing a cache does not lose them. Times are
the database's. Requests to stop a job are in the database of what follows from its end, which
deletes them; everything else is in the first database.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, connections
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, Value

from djqueue.conf import settings
from djqueue.databases.now import UtcNow, aware

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from djqueue.models import Control

__all__ = [
    "EVERY_QUEUE",
    "STOP_FOR",
    "Controls",
    "Pause",
    "forget_stops",
    "is_paused",
    "pause",
    "paused_for_long",
    "paused_queues",
    "pauses",
    "read",
    "request_end",
    "request_restart",
    "request_stop",
    "resume",
    "stops",
    "stops_left",
    "worker_key",
]

EVERY_QUEUE = "*"
_RESTART = "restart"
_PAUSE = "pause:"
_STOP = "stop:"
STOP_FOR = timedelta(hours=1)
"""Time after which a request to stop a job that no worker has followed is void."""


class Pause(NamedTuple):
    """A pause that is in force."""

    connection: str
    """`EVERY_QUEUE` for a pause of every queue of every connection."""
    queue: str
    until: datetime | None
    """None: until it is ended with `resume`."""
    reason: str
    by: str


def pause(
    connection: str | None = None,
    queue: str | None = None,
    *,
    for_: timedelta | float | None = None,
    reason: str = "",
    by: str = "",
) -> bool:
    """Pause a queue of a connection; without either, every queue of every connection.

    `for_` is a `timedelta` or seconds; None means until `resume`. A second pause replaces the
    first. Return False if it has done so.
    """
    until = None
    if for_ is not None:
        span = for_ if isinstance(for_, timedelta) else timedelta(seconds=for_)
        until = ExpressionWrapper(UtcNow() + Value(span), output_field=DateTimeField())
    scope = _scope(connection, queue)
    values = {"until": until, "reason": reason[:255], "by": by[:255], "updated_at": UtcNow()}
    row, created = _controls().get_or_create(scope=scope, defaults=values)
    if created or _controls().filter(pk=row.pk, until__lte=UtcNow()).update(**values):
        return True
    _, created = _controls().update_or_create(scope=scope, defaults=values)
    return created


def resume(connection: str | None = None, queue: str | None = None) -> int:
    """End the pause of a queue; without either argument, end all pauses. Return how many ended.

    Resuming one queue does not end a pause of every queue.
    """
    rows = _controls()
    if connection is None and queue is None:
        return rows.filter(scope__startswith=_PAUSE).delete()[0]
    return rows.filter(scope=_scope(connection, queue)).delete()[0]


def is_paused(connection: str, queue: str) -> bool:
    """Return whether a pause keeps workers from the queue."""
    scopes = (_scope(None, None), _scope(connection, queue))
    return _paused().filter(scope__in=scopes).exists()


def paused_queues(connection: str) -> set[str]:
    """Return the paused queues of a connection, with `EVERY_QUEUE` if all are paused."""
    start = f"{_PAUSE}{connection}:"
    scopes = _paused().values_list("scope", flat=True)
    found = scopes.filter(Q(scope__startswith=start) | Q(scope=_scope(None, None)))
    return {scope.removeprefix(start).removeprefix(_PAUSE) for scope in found}


def pauses() -> list[Pause]:
    """Return all pauses that are in force: that of every queue first, then by connection, queue."""
    found = []
    for scope, until, reason, by in _paused().values_list("scope", "until", "reason", "by"):
        place = scope.removeprefix(_PAUSE)
        connection, _, queue = place.partition(":")
        found.append(Pause(connection, queue or EVERY_QUEUE, aware(until), reason, by))
    return sorted(found, key=lambda each: (each.connection, each.queue))


class Controls(NamedTuple):
    """What workers of a connection are asked to do."""

    paused: set[str]
    """As `paused_queues` returns it."""
    generation: int
    """A number that grows with each `request_restart` for all workers: one stops when the number
    has grown since its start."""
    must_end: bool
    """This worker alone is asked to stop."""
    stops: frozenset[str]
    """The ids of jobs to be stopped, on whatever connection they are; see `stops` where requests
    are in another database."""


def paused_for_long(seconds: float) -> list[Pause]:
    """Return the pauses in force that began more than `seconds` ago."""
    before = UtcNow() - timedelta(seconds=seconds)
    old = set(_paused().filter(updated_at__lt=before).values_list("scope", flat=True))
    return [each for each in pauses() if _scope_of(each) in old]


def _scope_of(pause: Pause) -> str:
    if pause.connection == EVERY_QUEUE:
        return f"{_PAUSE}{EVERY_QUEUE}"
    return f"{_PAUSE}{pause.connection}:{pause.queue}"


def read(connection: str, worker: str = "") -> Controls:
    """Return the controls of a connection's worker, which `worker_key` names. One query, as workers
    ask every second.
    """
    start = f"{_PAUSE}{connection}:"
    alias = settings().databases[0]
    statement, values = _reading(alias, start, _restart_of(worker))
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        found = dict(cursor.fetchall())
    generation, own = found.pop(_RESTART, 0), found.pop(_restart_of(worker), 0)
    stops = frozenset(scope for scope in found if scope.startswith(_STOP))
    paused = {scope.removeprefix(start).removeprefix(_PAUSE) for scope in found.keys() - stops}
    return Controls(paused, generation, own > 0, frozenset(map(_stopped, stops)))


def _stopped(scope: str) -> str:
    return scope.removeprefix(_STOP)


@lru_cache(maxsize=8)
def _reading(alias: str, start: str, restart: str) -> tuple[str, tuple[Any, ...]]:
    """Return the statement and the parameters of `read`.

    Compiled once: compiling takes longer than the query itself, and writes to memory that a worker
    shares with its children, which the kernel would then have to copy.
    """
    wanted = Q(scope__startswith=start) | Q(scope__startswith=_STOP)
    wanted |= Q(scope__in=(_scope(None, None), _RESTART, restart))
    live = Q(until=None) | Q(until__gt=UtcNow())
    rows = _controls().filter(wanted, live).values_list("scope", "value")
    compiled: tuple[str, tuple[Any, ...]] = rows.query.get_compiler(alias).as_sql()
    return compiled


def worker_key(alias: str, row: int) -> str:
    """Return what names a worker in requests to it alone: the database and the key of its row. A
    host and a process id may be those of another worker, now or later.
    """
    return f"{alias}:{row}"


def request_restart(by: str = "") -> None:
    """Ask every worker on every machine to stop when its jobs have ended."""
    rows = _controls()
    values: dict[str, Any] = {"by": by[:255], "updated_at": UtcNow()}
    row, created = rows.get_or_create(scope=_RESTART, defaults={"value": 1, **values})
    if not created:
        rows.filter(pk=row.pk).update(value=F("value") + 1, **values)


def request_end(worker: str, by: str = "") -> bool:
    """Ask the one worker that `worker_key` names to stop when its jobs have ended. Return False if
    it is asked already.
    """
    return _request(_controls(), _restart_of(worker), by, value=1)


def _restart_of(worker: str) -> str:
    return f"{_RESTART}:{worker}"[:200]


def request_stop(id: str, by: str = "") -> bool:
    """Ask the worker that runs job `id` to stop it. The end of the job deletes the request. Return
    False if it is asked already.
    """
    return _request(_requests(), f"{_STOP}{id}", by)


def _request(rows: QuerySet[Control], scope: str, by: str, **columns: int) -> bool:
    """Write a request that is void after an hour. Return False if it is in force already, or has
    been met at this moment.
    """
    until = ExpressionWrapper(UtcNow() + Value(STOP_FOR), output_field=DateTimeField())
    values: dict[str, Any] = {"until": until, "by": by[:255], "updated_at": UtcNow(), **columns}
    try:
        row, created = rows.get_or_create(scope=scope, defaults=values)
    except IntegrityError:  # another's stood in the way, and a worker has met it since
        return False
    return created or bool(rows.filter(pk=row.pk, until__lte=UtcNow()).update(**values))


def stops() -> frozenset[str]:
    """Return the ids of all jobs to be stopped."""
    found = _requests().filter(scope__startswith=_STOP, until__gt=UtcNow())
    return frozenset(map(_stopped, found.values_list("scope", flat=True)))


def stops_left(ids: Iterable[str]) -> set[str]:
    """Return those of `ids` that are to be stopped, and that no worker has stopped yet."""
    scopes = _requests().filter(scope__in=[f"{_STOP}{id}" for id in ids])
    return set(map(_stopped, scopes.values_list("scope", flat=True)))


def forget_stops(ids: Iterable[str]) -> None:
    """Delete the requests to stop these jobs."""
    _requests().filter(scope__in=[f"{_STOP}{id}" for id in ids]).delete()


def _scope(connection: str | None, queue: str | None) -> str:
    if connection is None and queue is None:
        return f"{_PAUSE}{EVERY_QUEUE}"
    known = settings().connection(connection)
    return f"{_PAUSE}{known.name}:{queue or known.queue}"


def _controls() -> QuerySet[Control]:
    from djqueue.models import Control

    return Control.objects.using(settings().databases[0])


def _requests() -> QuerySet[Control]:
    return _controls().using(settings().shared_database)


def _paused() -> QuerySet[Control]:
    live = Q(until=None) | Q(until__gt=UtcNow())
    return _controls().filter(live, scope__startswith=_PAUSE)
