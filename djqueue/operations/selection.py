"""Stored jobs, chosen by id or by where they are.

An id is looked for on the default connection first, then on the others: what it names is acted
upon where it was found.
"""

from __future__ import annotations

from functools import partial
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
from djqueue.operations.reports.deadlines import in_thread
from djqueue.operations.results import Target
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from djqueue.drivers.base import Inspector

__all__ = ["EVERY_STATE", "Listed", "Selected", "choose", "keepers", "locate", "matching"]
__all__ += ["search", "targets"]

EVERY_STATE = (State.RESERVED, State.STUCK, State.WAITING, State.DELAYED)


class Listed(NamedTuple):
    """A stored job, and the connection that it is on."""

    connection: str
    job: StoredJob

    @property
    def target(self) -> Target:
        """Return the job as an operator's target, which has no payload."""
        job = self.job
        return Target(self.connection, job.queue, job.key or job.id, job.name)


class Selected(NamedTuple):
    """What ids stand for."""

    targets: list[Target]
    unknown: list[JobNotFound]
    """One for each id that no stored job has, or that fits several; they say which."""


def locate(text: str, connection: str | None = None) -> Listed:
    """Return the stored job whose id is `text`, or begins or ends with it. Raises `JobNotFound`.

    Without a `connection` every one is asked; one that cannot be reached is named in the error.
    """
    part = ids.digits(text)
    silent = []
    names = keepers(connection)
    for name in names:
        try:
            found = _search(name, part)
        except _NOT_ASKED as error:
            if names == [connection]:
                raise
            silent.append(_silent(name, error))
            continue
        if len(found) == 1:
            return Listed(name, found[0])
        if found:
            raise not_found("job", text, [job.id for job in found])
    missing = not_found("job", text, ())
    raise JobNotFound(f"{missing}{''.join(silent)}")


def search(
    names: Iterable[str], part: str, silent: list[str] | None, within: float | None = None
) -> list[Listed]:
    """Return the stored jobs of some connections whose ids begin or end with the digits `part`.
    What could not be asked is added to `silent`, in words that go behind others; without `silent`
    it is an error.

    With `within` all are asked at the same time, and each has that many seconds to answer.
    """
    found: list[Listed] = []
    asked: list[tuple[str, Callable[[], list[StoredJob]]]] = []
    for name in names:
        ask = partial(_search, name, part)
        asked.append((name, ask if within is None else in_thread(ask, name, within)))
    for name, answer in asked:
        try:
            found += [Listed(name, job) for job in answer()]
        except _NOT_ASKED as error:
            if silent is None:
                raise
            silent.append(_silent(name, error))
    return found


_NOT_ASKED = (QueueUnavailable, ConfigurationError, Unsupported)


def _silent(name: str, error: QueueError) -> str:
    return f" Connection {name} was not looked at. {error}"


def keepers(connection: str | None) -> Sequence[str]:
    """Return the connections that keep the jobs of `connection` themselves; without one every such
    connection, the default one first.
    """
    if connection is not None:
        return members(connection)
    found: dict[str, None] = {}
    for name in (None, *queues):
        try:
            found.update(dict.fromkeys(members(name)))
        except ConfigurationError:
            found[queues[name].name] = None
    return list(found)


def _search(name: str, part: str) -> list[StoredJob]:
    inspector = queues[name].inspector
    if not inspector.capabilities.keeps_jobs:
        return []
    if len(part) < ids.LENGTH:
        return inspector.search(part)
    return inspector.find([ids.as_begin(part)])


def choose(texts: Sequence[str], connection: str | None = None) -> Selected:
    """Return the stored jobs that ids, or parts of ids, name."""
    found = []
    unknown = []
    for text in texts:
        try:
            found.append(locate(text, connection))
        except JobNotFound as error:
            unknown.append(error)
    return Selected(targets(found), unknown)


def matching(
    connection: str | None,
    queue: str | None = None,
    states: Iterable[State] = EVERY_STATE,
    name: str | None = None,
    limit: int | None = None,
) -> Iterator[Listed]:
    """Return stored jobs by queue, state and name: running jobs first, then the others in the order
    in which they would run.

    Where a connection passes its jobs on, those of each member in turn; one that cannot be reached
    is an error after the others.
    """
    states = tuple(states)
    names = members(connection)
    silent: list[QueueError] = []

    def found() -> Iterator[Listed]:
        for keeper in names:
            try:
                yield from _held_by(keeper, queue, states)
            except (QueueUnavailable, Unsupported) as error:
                silent.append(error)
        if silent:
            raise silent[0]

    return islice((each for each in found() if name is None or each.job.name == name), limit)


def _held_by(keeper: str, queue: str | None, states: Sequence[State]) -> Iterator[Listed]:
    asked = queues[keeper]
    every = asked.inspector.queues() if queue is None else [asked.check(queue)]
    for state in states:
        for each in every:
            for job in _pages(asked.inspector, each, state):
                yield Listed(asked.name, job)


def _pages(inspector: Inspector, queue: str, state: State) -> Iterator[StoredJob]:
    """Return each job once, although workers may take jobs between two pages."""
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


def targets(found: Iterable[Listed]) -> list[Target]:
    """Return each job once, without its payload. All jobs are read before the first is changed,
    since a change moves others to another page.
    """
    return list(dict.fromkeys(each.target for each in found))
