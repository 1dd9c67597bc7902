"""The children of a worker: started, fed, watched and buried."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from djqueue.drivers.base import Reservation
from djqueue.running.outcome import Outcome
from djqueue.worker import clock, postmortem
from djqueue.worker.memory import resident
from djqueue.worker.process import STUCK_AFTER, Process
from djqueue.worker.start import Team, start
from djqueue.worker.wire import Item, Note

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver

DUMP_TIME = 1.0
"""Seconds between SIGABRT, which dumps the stacks, and SIGKILL."""
_FAST_DEATH = 1.0
_LONGEST_PAUSE = 30.0


class Burial(NamedTuple):
    """A child that has ended."""

    process: Process
    status: int
    """As `os.waitpid` gives it."""


class Crew:
    """Keeps `size` children alive while the worker accepts work."""

    def __init__(self, size: int, team: Team, driver: Driver) -> None:
        self.size = size
        self.processes: list[Process] = []
        self._team = team
        self._driver = driver
        self._life = os.pipe()
        self._start_at = 0.0
        self._fast_deaths = 0

    # -- births and deaths ---------------------------------------------------------------------

    def start_missing(self, now: float) -> list[Process]:
        """Start what is missing. After quick deaths in a row ever more slowly."""
        born = []
        while len(self.processes) < self.size and now >= self._start_at:
            self._before_fork()
            pid, ends = start(self._team, self._life, self._in_child)
            process = Process(pid, ends)
            self.processes.append(process)
            born.append(process)
        return born

    @property
    def start_at(self) -> float | None:
        """When a missing child may be started, or None if none is missing."""
        return self._start_at if len(self.processes) < self.size else None

    def bury(self) -> Iterator[Burial]:
        """The children that have ended since the last call."""
        for process in list(self.processes):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                self.processes.remove(process)
                self._pause(process)
                yield Burial(process, status)

    def _pause(self, process: Process) -> None:
        now = clock.now()
        fast = now - process.started < _FAST_DEATH and process.doomed is None
        self._fast_deaths = self._fast_deaths + 1 if fast else 0
        if self._fast_deaths > 3:
            self._start_at = now + min(2.0 ** (self._fast_deaths - 3), _LONGEST_PAUSE)

    def _before_fork(self) -> None:
        """Django's other connections are closed: they and their pools' threads stay behind."""
        self._driver.before_fork()
        for connection in connections.all(initialized_only=True):
            if not self._driver.shares_transaction_with(connection.alias):
                connection.close()
                if getattr(connection, "pool", None) is not None:
                    connection.close_pool()  # type: ignore[attr-defined]

    def _in_child(self) -> None:
        self._driver.after_fork_in_child()
        for process in self.processes:
            process.close()

    def close(self) -> None:
        """Let idle children end by themselves, and make sure of it."""
        for process in self.processes:
            process.close()
        deadline = clock.now() + 2.0
        while self.processes and clock.now() < deadline:
            list(self.bury())
            time.sleep(0.005)
        for process in self.processes:
            process.kill()
            os.waitpid(process.pid, 0)
        self.processes.clear()
        for descriptor in self._life:
            os.close(descriptor)

    # -- work ----------------------------------------------------------------------------------

    def able(self) -> list[Process]:
        """Children that may be given something, the emptiest first."""
        able = [p for p in self.processes if p.doomed is None and not p.spoilt]
        return sorted(able, key=lambda process: len(process.held))

    @property
    def busy(self) -> bool:
        """Whether a child holds anything."""
        return any(process.held for process in self.processes)

    def held(self) -> Iterator[Reservation]:
        """Every reservation that a child holds."""
        for process in self.processes:
            for item in process.held.values():
                if isinstance(item, Item):
                    yield item.reservation

    def behind_a_long_one(self, now: float) -> Iterator[tuple[Process, Item | Note]]:
        """Children in which others wait behind a job that runs for long already."""
        for process in self.processes:
            if len(process.held) > 1 and (found := process.running()):
                item, running = found
                if now - running.since > STUCK_AFTER:
                    yield process, item

    # -- limits --------------------------------------------------------------------------------

    def enforce_timeouts(self, now: float, kill_grace: float) -> None:
        """Kill what did not react to its soft timeout."""
        for process in self.processes:
            if process.aborted_at is not None:
                if now - process.aborted_at >= DUMP_TIME:
                    process.kill()
            elif (found := process.running()) and found[1].timeout:
                since = now - found[1].since
                if since > found[1].timeout + kill_grace:
                    process.abort(f"timeout:{since}", dump=True)

    def enforce_memory(self, limit: int) -> None:
        """Kill what has grown above `limit` bytes during a job."""
        for process in self.processes:
            if process.doomed is None and process.held:
                used = resident(process.pid)
                if used > limit:
                    process.abort(f"memory:{used}", dump=False)

    def kill_all(self, why: str) -> None:
        """End every child at once; `why` goes on record as the reason of the interruption."""
        for process in self.processes:
            process.abort(why, dump=False)


def outcome_of(burial: Burial, item: Item, team: Team, memory_kill: int) -> Outcome:
    """What became of the item that a dead child had begun."""
    process, rules = burial.process, team.rules
    kind, _, number = (process.doomed or "").partition(":")
    if kind == "timeout":
        return postmortem.timed_out(item.reservation, rules, float(number), process.dump())
    if kind == "memory":
        return postmortem.grew(item.reservation, rules, int(number), memory_kill)
    if kind:
        return postmortem.interrupted(item.reservation, rules, kind)
    return postmortem.died(item.reservation, rules, burial.status, process.dump())
