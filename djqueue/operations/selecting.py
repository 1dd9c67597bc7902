"""Stored jobs, chosen by id or by where they are, and what operators do to them.

An id is looked for on the default connection first, then on the others: what it names is acted
upon where it was found. Every act is conditional in its store, so a job that a worker took
meanwhile is left alone, and each returns what really changed.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from djqueue.dispatch.connections import members, queues
from djqueue.drivers.base import State, StoredJob
from djqueue.errors import (
    ConfigurationError,
    JobNotFound,
    QueueError,
    QueueUnavailable,
    Unsupported,
)
from djqueue.operations.failed_jobs import SLICE, not_found
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from djqueue.drivers.base import Inspector

__all__ = [
    "EVERY_STATE",
    "Chosen",
    "Located",
    "Place",
    "choose",
    "delete",
    "locate",
    "matching",
    "places",
    "release",
    "running",
]

EVERY_STATE = (State.RESERVED, State.STUCK, State.WAITING, State.DELAYED)


class Located(NamedTuple):
    """A stored job, and the connection it is on."""

    connection: str
    job: StoredJob


class Place(NamedTuple):
    """What remains of a job when many are chosen."""

    connection: str
    queue: str
    id: str
    name: str = ""


class Chosen(NamedTuple):
    """What ids stand for."""

    places: list[Place]
    unknown: list[JobNotFound]
    """One for each id that no stored job has, or that fits several; they say which."""


def locate(text: str, connection: str | None = None) -> Located:
    """The stored job whose id is `text`, or begins or ends like it. Raises `JobNotFound`.

    Without a `connection` every one is asked; one that cannot be reached is named in the error.
    """
    part = ids.digits(text)
    silent = []
    names = _names() if connection is None else members(connection)
    for name in names:
        try:
            found = _search(queues[name].inspector, part)
        except (QueueUnavailable, ConfigurationError, Unsupported) as error:
            if names == [connection]:
                raise
            silent.append(f" Connection {name} was not looked at. {error}")
            continue
        if len(found) == 1:
            return Located(name, found[0])
        if found:
            raise not_found("job", text, [job.id for job in found])
    missing = not_found("job", text, ())
    raise JobNotFound(f"{missing}{''.join(silent)}")


def _names() -> list[str]:
    """Every connection that keeps jobs itself, the default one first."""
    found: dict[str, None] = {}
    for name in (None, *queues):
        try:
            found.update(dict.fromkeys(members(name)))
        except ConfigurationError:
            found[queues[name].name] = None
    return list(found)


def _search(inspector: Inspector, part: str) -> list[StoredJob]:
    if not inspector.capabilities.keeps_jobs:
        return []
    if len(part) < ids.LENGTH:
        return inspector.search(part)
    return inspector.find([ids.as_begin(part)])


def choose(texts: Sequence[str], connection: str | None = None) -> Chosen:
    """The stored jobs that ids, or parts of ids, stand for."""
    places: dict[Place, None] = {}
    unknown = []
    for text in texts:
        try:
            found = locate(text, connection)
        except JobNotFound as error:
            unknown.append(error)
        else:
            places[_place(found)] = None
    return Chosen(list(places), unknown)


def matching(
    connection: str | None,
    queue: str | None = None,
    states: Iterable[State] = EVERY_STATE,
    name: str | None = None,
    limit: int | None = None,
) -> Iterator[Located]:
    """Stored jobs by queue, state and name; those that run first, then as they would run.

    Where a connection passes its jobs on, those of each member in turn; one that cannot be reached
    is an error after the others.
    """
    states = tuple(states)
    names = members(connection)
    silent: list[QueueError] = []

    def found() -> Iterator[Located]:
        for keeper in names:
            try:
                yield from _held_by(keeper, queue, states)
            except (QueueUnavailable, Unsupported) as error:
                silent.append(error)
        if silent:
            raise silent[0]

    return islice((each for each in found() if name is None or each.job.name == name), limit)


def _held_by(keeper: str, queue: str | None, states: Sequence[State]) -> Iterator[Located]:
    asked = queues[keeper]
    every = asked.inspector.queues() if queue is None else [asked.check(queue)]
    for state in states:
        for each in every:
            for job in _pages(asked.inspector, each, state):
                yield Located(asked.name, job)


def _pages(inspector: Inspector, queue: str, state: State) -> Iterator[StoredJob]:
    """Each job once, although workers take jobs away while the pages are turned."""
    seen: set[str] = set()
    after = None
    while True:
        page = inspector.peek(queue, state, SLICE, after)
        new = [job for job in page if job.id not in seen]
        yield from new
        if not new or len(page) < SLICE:
            return
        seen.update(job.id for job in new)
        after = page[-1].id


def places(found: Iterable[Located]) -> list[Place]:
    """Where jobs are. All of them are read before the first is touched: acting upon some moves
    others from page to page.
    """
    return list(dict.fromkeys(map(_place, found)))


def _place(found: Located) -> Place:
    return Place(found.connection, found.job.queue, found.job.id, found.job.name)


def delete(
    chosen: Sequence[Place],
    *,
    even_running: bool = False,
    on_progress: Callable[[int], object] = lambda done: None,
) -> int:
    """Delete waiting, delayed and stuck jobs; how many. With `even_running` the others too: the
    attempt that runs goes on, and its outcome is ignored.
    """

    def remove(inspector: Inspector, queue: str, uuids: Sequence[str]) -> int:
        return inspector.remove(queue, uuids, even_running=even_running)

    return _act(chosen, remove, on_progress)


def release(
    chosen: Sequence[Place], *, on_progress: Callable[[int], object] = lambda done: None
) -> int:
    """Stuck jobs back to waiting, one interruption more on record; how many."""
    return _act(
        chosen, lambda inspector, queue, uuids: inspector.release(queue, uuids), on_progress
    )


def _act(
    chosen: Sequence[Place],
    action: Callable[[Inspector, str, Sequence[str]], int],
    on_progress: Callable[[int], object],
) -> int:
    by_queue: dict[tuple[str, str], list[str]] = {}
    for place in chosen:
        by_queue.setdefault((place.connection, place.queue), []).append(place.id)
    changed = seen = 0
    for (connection, queue), uuids in by_queue.items():
        inspector = queues[connection].inspector
        for start in range(0, len(uuids), SLICE):
            part = uuids[start : start + SLICE]
            changed += action(inspector, queue, part)
            seen += len(part)
            on_progress(seen)
    return changed


def running(chosen: Sequence[Place]) -> list[Located]:
    """Those of `chosen` that a worker runs at this moment."""
    return [
        Located(place.connection, job)
        for place in chosen
        for job in queues[place.connection].inspector.find([place.id])
        if job.state is State.RESERVED
    ]
