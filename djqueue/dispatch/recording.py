"""Where dispatches go while a test records them in place of sending them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.dispatch.outgoing import Sendable

__all__ = ["Recorder", "recorders"]


class Recorder(Protocol):
    """Takes what would have been sent: checked and encoded, but not yet waiting for a commit."""

    def record(self, job: Sendable) -> DispatchedJob[Any]:
        """Keep `job`, and answer the dispatch."""


class Recorders:
    """Those that are in use, of the whole process: code under test dispatches from any thread."""

    def __init__(self) -> None:
        self.innermost: Recorder | None = None
        """Takes every dispatch; None while nothing is recorded."""
        self._open: list[Recorder] = []

    def open(self, recorder: Recorder) -> None:
        """Let `recorder` take every dispatch from now on."""
        self._open.append(recorder)
        self.innermost = recorder

    def close(self, recorder: Recorder) -> None:
        """End the latest `open` of `recorder`; the one that was open before it goes on."""
        for index in reversed(range(len(self._open))):
            if self._open[index] is recorder:
                del self._open[index]
                break
        self.innermost = self._open[-1] if self._open else None

    @contextmanager
    def opened(self, recorder: Recorder) -> Iterator[None]:
        """`open` it for a block."""
        self.open(recorder)
        try:
            yield
        finally:
            self.close(recorder)


recorders = Recorders()
