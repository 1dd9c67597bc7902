"""Recording dispatches instead of sending them, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.dispatch.outgoing import Sendable

__all__ = ["Recorder", "recorders"]


class Recorder(Protocol):
    """Takes jobs that are checked and encoded, in place of the store."""

    def takes(self, job: object) -> bool:
        """Return whether it takes this job; others are dispatched as ever."""

    def record(self, job: Sendable) -> DispatchedJob[Any]:
        """Keep `job` and return what the dispatch is to return."""

    def record_chain(
        self, steps: Sequence[Any], on_failure: Sequence[Sendable]
    ) -> DispatchedJob[Any]:
        """Keep the steps of a chain, each a `Sendable` or a batch, and the job that runs if one
        fails, if there is any; return what the dispatch is to return.
        """

    def record_batch(self, name: str, members: Sequence[Any]) -> int:
        """Keep the members of a batch, each a `Sendable` or an encoded chain; how many."""


class Recorders:
    """The recorders in use in this process: code under test may dispatch from any thread."""

    def __init__(self) -> None:
        self.innermost: Recorder | None = None
        """The recorder that is asked first; None while nothing is recorded."""
        self._open: list[Recorder] = []

    def open(self, recorder: Recorder) -> None:
        """Send every dispatch that `recorder` takes to it from now on."""
        self._open.append(recorder)
        self.innermost = recorder

    def close(self, recorder: Recorder) -> None:
        """End the latest `open` of `recorder`; the one before it takes over."""
        for index in reversed(range(len(self._open))):
            if self._open[index] is recorder:
                del self._open[index]
                break
        self.innermost = self._open[-1] if self._open else None

    def taking(self, *jobs: object) -> Recorder | None:
        """Return the recorder that takes at least one of `jobs`, which are dispatched together, if
        there is one; of no jobs at all the innermost one.
        """
        if not jobs:
            return self.innermost
        for recorder in reversed(self._open):
            if any(map(recorder.takes, jobs)):
                return recorder
        return None

    @contextmanager
    def opened(self, recorder: Recorder) -> Iterator[None]:
        """Open `recorder` for the length of a ``with`` block."""
        self.open(recorder)
        try:
            yield
        finally:
            self.close(recorder)


recorders = Recorders()
