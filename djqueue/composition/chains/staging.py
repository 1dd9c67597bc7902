"""A batch as a step of a chain, as the chain knows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.dispatch.connections import queues
from djqueue.errors import InvalidJob
from djqueue.payload.links import Links

if TYPE_CHECKING:
    from typing_extensions import Self

    from djqueue.drivers.base import Capabilities
    from djqueue.jobs.definition.spec import JobInstance

__all__ = ["BatchStep", "Place", "Places", "Stageable"]


class Stageable(ABC):
    """What may be a step of a chain, and is no job."""

    name: str

    @abstractmethod
    def below(self, using: Mapping[str, Any]) -> Self:
        """Return a copy with these options too, where it has none of its own."""

    @abstractmethod
    def jobs(self) -> Iterator[JobInstance]:
        """Return the jobs that it consists of."""

    @abstractmethod
    def encoded(self, step: BatchStep) -> Iterator[Any]:
        """Return its members, each a `Sendable` or an encoded chain. Stores nothing."""

    @abstractmethod
    def stage(self, step: BatchStep, places: Places) -> None:
        """Write it, and what it consists of. All of it waits for its turn."""


class BatchStep(NamedTuple):
    """A batch that is checked, and not written yet."""

    batch: Stageable
    id: str
    links: Links
    """What it is bound to as a step."""
    depth: int
    """How many batches it is inside of."""


class Place(NamedTuple):
    """A job, as far as it matters here."""

    connection: str
    name: str

    @property
    def capabilities(self) -> Capabilities:
        """What its store can do."""
        return queues[self.connection].driver.capabilities


class Places:
    """Where jobs run that are bound to each other. A job cannot run in the process that queues it
    behind one that a worker runs: the worker, which runs no code of the project, would be that
    process.
    """

    def __init__(self, before: Place | None = None, behind: Sequence[Place] = ()) -> None:
        """`before`: a job of a worker, behind which the others come. `behind`: what comes behind
        each of them.
        """
        self._before = before
        self._behind = [each for each in behind if each.capabilities.inline]
        self._last: Place | None = None
        self._seen: set[str] = set()
        if before is not None:
            for each in self._behind:
                _refuse(each, before)

    def add(self, connection: str, name: str) -> None:
        """Add a job beside the others. Raises `InvalidJob` where it cannot run there."""
        if connection in self._seen:
            return
        job = Place(connection, name)
        if job.capabilities.inline and self._before is not None:
            _refuse(job, self._before)
        if job.capabilities.keeps_jobs:
            for each in self._behind:
                _refuse(each, job)
            self._last = job
        self._seen.add(connection)

    def go_on(self) -> None:
        """What is added from now on comes behind what was added until now."""
        self._before, self._last = self._last or self._before, None
        self._seen.clear()

    def inside(self, behind: Sequence[Place] = ()) -> Places:
        """Return the places of jobs that belong together, to be added here by `take`."""
        return Places(self._before, [*self._behind, *behind])

    def take(self, inner: Places) -> None:
        """Add them."""
        inner.go_on()
        if inner._before is not self._before:
            self._last = inner._before


def _refuse(job: Place, before: Place) -> None:
    raise InvalidJob(
        f'{job.name} is for connection "{job.connection}", which runs jobs in the process that'
        f' queues them, but comes after {before.name} on "{before.connection}", which a worker'
        " runs. Give both the same connection, as using(connection=…) of the chain or batch does."
        " Nothing was queued."
    )
