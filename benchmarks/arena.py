"""One store, who takes part there, and how large everything is."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agents import Agent, Running
from benchmarks.contestants import ENTRIES
from benchmarks.environments import interpreter_of
from benchmarks.stores import STORES, Store

PATIENCE = 60.0
"""Seconds that a worker may take to begin its first job."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    quick: bool = False

    def count(self, full: int) -> int:
        """A number of jobs: a twentieth when it is only to be seen whether everything works."""
        return max(full // 20, min(full, 20)) if self.quick else full

    def seconds(self, full: float) -> float:
        return full / 5 if self.quick else full


class Arena:
    """The contestants' processes at one store."""

    def __init__(self, store: Store, folder: Path, scale: Scale) -> None:
        self.store = store
        self.scale = scale
        self._folder = folder
        self._agents: dict[str, Agent] = {}

    def agent(self, name: str) -> Agent:
        """Return the process of a contestant, its tables made; `Absent` if it cannot be had."""
        if name not in self._agents:
            entry = ENTRIES[name]
            room = self.agent(entry.room).store if entry.room else None
            self._agents[name] = self._start(name, room)
        return self._agents[name]

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[Agent]:
        """A contestant in a room where nobody has been before."""
        agent = self._start(name, None)
        try:
            yield agent
        finally:
            agent.close()
            self.store.remove(agent.store)

    def _start(self, name: str, room: object) -> Agent:
        entry = ENTRIES[name]
        python = interpreter_of(entry.environment)
        store = room if isinstance(room, dict) else self.store.new()
        agent = Agent(python, entry.module, store, Path(tempfile.mkdtemp(dir=self._folder)))
        agent.call("prepare")
        return agent

    def close(self) -> None:
        for agent in self._agents.values():
            agent.close()


@contextlib.contextmanager
def opened(name: str, scale: Scale) -> Iterator[Arena]:
    """Start a store, and end everything that was started."""
    with tempfile.TemporaryDirectory(prefix="djqueue-bench-") as place:
        folder = Path(place)
        store = STORES[name](folder)
        store.start()
        arena = Arena(store, folder, scale)
        try:
            yield arena
        finally:
            arena.close()
            store.stop()


def drained(worker: Running, count: int, limit: float) -> float:
    """Jobs a second of a worker that has `count` to do; a slow one is cut off after `limit`."""
    worker.wait_for(1, PATIENCE)
    worker.wait_for(count, limit)
    return worker.sink.rate()
