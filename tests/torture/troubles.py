"""Anything that may happen to workers and stores, two of it at once; then every job is counted.

A scene has two workers of two children on one connection. Before each round jobs are dispatched,
then two troubles begin, seeded, last for a while and end. At rest each job is in one place alone:
done, or among the failed jobs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from djqueue import dispatch_many, queues
from djqueue.errors import QueueUnavailable
from djqueue.models import FailedJob, Outbox
from tests.app import jobs
from tests.ledger import Ledger, Line
from tests.services.clock import IS_POSSIBLE, Clock, clocks
from tests.services.processes import descendants
from tests.services.proxy import Mode, Proxy
from tests.services.server import Server
from tests.support import WorkerProcess, start_worker, wait_until

GRACE = 2.0
"""Seconds that a worker gives its jobs when it is to stop."""
JOBS = 60
"""Dispatched before each round."""
FAILING = 0.1
"""The part of the jobs that fail."""
LONGEST = 0.4
REST = 120.0
"""Seconds after which everything has to be at rest."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Scene:
    """Where the troubles happen."""

    connection: str
    lease: float
    proxy: Proxy | None = None
    """Between the workers and the store, or its SQL."""
    server: Server | None = None
    """One that may be suspended and killed: its data survives."""
    file: str | None = None
    """SQLite's, which may be locked."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """The workers' settings."""
    together: float = 0.0
    """Seconds for which two runs of a job may be seen at the same time: 0, but where a store lets
    go of what a worker holds as soon as a connection breaks, and the worker hears of it later."""

    @property
    def has_clocks(self) -> bool:
        """Whether a worker's clock may be wrong. SQLite's is that of its processes, one for all."""
        return IS_POSSIBLE and self.file is None


@dataclass
class Count:
    """What a run was like."""

    seed: int
    jobs: int = 0
    troubles: list[str] = field(default_factory=list)
    runs: int = 0
    extra_runs: int = 0
    unexplained: int = 0
    together: float = 0.0
    slowest_end: float = 0.0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.jobs} jobs, {', '.join(self.troubles)}; {self.runs} runs,"
            f" {self.extra_runs} extra, {self.unexplained} of them without a line; two runs of a"
            f" job together for {self.together:.2f} s; TERM to exit {self.slowest_end:.1f} s;"
            f" lost {len(self.lost)}"
        )


class Crew:
    """The workers; a killed one is started again."""

    def __init__(self, scene: Scene, stack: contextlib.ExitStack) -> None:
        self._scene = scene
        self._stack = stack
        self.all: list[WorkerProcess] = []
        self.clocks: list[Clock] = []
        """Of the machines that the living workers are on."""
        if scene.has_clocks:
            made = stack.enter_context(clocks())
            self.clocks = [made.make(), made.make()]
        self.living = [self.start(0), self.start(1)]

    def start(self, place: int) -> WorkerProcess:
        worker = start_worker(
            self._scene.connection,
            *("--workers", 2, "--grace", GRACE, "--sleep", 0.5),
            overrides=self._scene.overrides,
            **(self.clocks[place].environment if self.clocks else {}),
        )
        self.all.append(self._stack.enter_context(worker))
        return self.all[-1]

    @property
    def output(self) -> str:
        return "\n".join(worker.output for worker in self.all)


Trouble = Callable[[Scene, Crew, random.Random], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def parent_killed(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    place = chance.randrange(len(crew.living))
    crew.living[place].kill()
    crew.living[place] = crew.start(place)
    yield


@contextlib.contextmanager
def child_killed(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    for pid in descendants(chance.choice(crew.living).pid)[-1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def warden_killed(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    for pid in descendants(chance.choice(crew.living).pid)[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def parent_suspended(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    worker = chance.choice(crew.living)
    worker.send(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send(signal.SIGCONT)


@contextlib.contextmanager
def clock_stepped(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    """A worker's clock is suddenly wrong, then it is set right."""
    clock = chance.choice(crew.clocks)
    clock.step(chance.choice((1, -1)) * chance.choice((2 * scene.lease, 3600, 20 * 86400)))
    try:
        yield
    finally:
        clock.step(0)


@contextlib.contextmanager
def _mode(scene: Scene, mode: Mode) -> Iterator[None]:
    assert scene.proxy is not None
    scene.proxy.mode = mode
    try:
        yield
    finally:
        if mode is Mode.STALL:
            scene.proxy.mode = Mode.REFUSE  # what was swallowed has broken the connections
        scene.proxy.mode = Mode.PASS


def silent(scene: Scene, crew: Crew, chance: random.Random) -> Any:
    return _mode(scene, Mode.HOLD)


def swallowed(scene: Scene, crew: Crew, chance: random.Random) -> Any:
    return _mode(scene, Mode.STALL)


def refused(scene: Scene, crew: Crew, chance: random.Random) -> Any:
    return _mode(scene, Mode.REFUSE)


def answers_lost(scene: Scene, crew: Crew, chance: random.Random) -> Any:
    return _mode(scene, Mode.DROP)


@contextlib.contextmanager
def server_suspended(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    assert scene.server is not None
    scene.server.freeze()
    try:
        yield
    finally:
        scene.server.thaw()


@contextlib.contextmanager
def server_killed(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    assert scene.server is not None
    scene.server.kill9()
    try:
        yield
    finally:
        scene.server.start()


@contextlib.contextmanager
def file_locked(scene: Scene, crew: Crew, chance: random.Random) -> Iterator[None]:
    assert scene.file is not None
    with contextlib.closing(sqlite3.connect(scene.file, timeout=30)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


ANYWHERE: tuple[Trouble, ...] = (parent_killed, child_killed, warden_killed, parent_suspended)
BEFORE: tuple[Trouble, ...] = (silent, swallowed, refused, answers_lost)
SERVER: tuple[Trouble, ...] = (server_suspended, server_killed)


def troubles_of(scene: Scene) -> list[Trouble]:
    """What may happen here."""
    found = list(ANYWHERE)
    found += BEFORE if scene.proxy is not None else ()
    found += SERVER if scene.server is not None else ()
    found += [file_locked] if scene.file is not None else []
    found += [clock_stepped] if scene.has_clocks else []
    return found


def run(scene: Scene, ledger: Ledger, *, seed: int, rounds: int) -> Count:
    """Go through `rounds` of two troubles each; AssertionError with what is wrong at rest."""
    chance = random.Random(seed)
    count = Count(seed)
    failing: set[int] = set()
    with contextlib.ExitStack() as stack:
        crew = Crew(scene, stack)
        wait_until(lambda: all("Stop with" in worker.output for worker in crew.living), 60)
        for _ in range(rounds):
            wait_until(lambda: _left(scene) is not None, 30)
            numbers = range(count.jobs, count.jobs + JOBS)
            failing |= {number for number in numbers if chance.random() < FAILING}
            count.jobs += dispatch_many(
                jobs.beating.using(connection=scene.connection).bind(
                    number, chance.uniform(0, LONGEST), fails=number in failing
                )
                for number in numbers
            )
            time.sleep(0.5)
            _round(scene, crew, chance, count)
        _come_to_rest(scene, count, ledger, failing)
        count.slowest_end = _stop(crew)
        output = crew.output
    _account(ledger, output, count)
    print(f"{scene.connection}: {count}")
    assert not count.lost, f"Lost: {count.lost}. {count}"
    assert not count.unexplained, f"Extra runs without a line. {count}"
    assert count.together <= scene.together, f"Two runs of a job together. {count}"
    assert count.slowest_end <= GRACE + 2, f"A worker ended late. {count}"
    return count


def _round(scene: Scene, crew: Crew, chance: random.Random, count: Count) -> None:
    """Two troubles that overlap."""
    one, other = chance.sample(troubles_of(scene), 2)
    if {one, other} <= {*BEFORE}:
        other = chance.choice(ANYWHERE)  # a proxy is in one mode
    count.troubles.append(f"{one.__name__} and {other.__name__}")
    with one(scene, crew, chance):
        time.sleep(chance.uniform(0, 0.5) * scene.lease)
        with other(scene, crew, chance):
            time.sleep(chance.uniform(0.2, 1.2) * scene.lease)


def _come_to_rest(scene: Scene, count: Count, ledger: Ledger, failing: set[int]) -> None:
    """Wait until nothing is left to run; note what is in no place."""

    def is_at_rest() -> bool:
        return _left(scene) == 0 and not Outbox.objects.exists()

    with contextlib.suppress(AssertionError):
        wait_until(is_at_rest, REST, every=0.2)
    done = {int(detail) for detail in ledger.details("end")}
    failed = Counter(
        int(found)
        for row in FailedJob.objects.all()
        for found in re.findall(r'"number":(\d+)', row.payload)
    )
    if left := _left(scene):
        count.lost.append(f"not at rest: {left} jobs are left")
    for number in range(count.jobs):
        places = (number in done) + failed[number]
        right = failed[number] == 1 if number in failing else number in done
        if places != 1 or not right:
            count.lost.append(f"{number} is {'done ' * (number in done)}failed {failed[number]}")


def _left(scene: Scene) -> int | None:
    """How many jobs the store holds; None if it gives no answer."""
    try:
        left = queues[scene.connection].counts("default")
    except QueueUnavailable:
        return None
    return (left.waiting or 0) + (left.delayed or 0) + (left.reserved or 0)


def _stop(crew: Crew) -> float:
    """Stop all workers; the seconds that the slowest one took."""
    slowest = 0.0
    for worker in crew.living:
        began = time.monotonic()
        worker.stop(GRACE + 20)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _account(ledger: Ledger, output: str, count: Count) -> None:
    """Count extra runs, those that no line explains, and how long two runs overlapped."""
    explained: Counter[str] = Counter()
    for line in output.splitlines():
        if "RELEASED" in line or "FAIL" in line:
            explained.update(_ID.findall(line))
    begun = ledger.count("begin")
    count.runs = sum(begun.values())
    count.extra_runs = sum(runs - 1 for runs in begun.values())
    count.unexplained = sum(max(runs - 1 - explained[id], 0) for id, runs in begun.items())
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in ledger.lines():
        lines[line.id].append(line)
    count.together = max((together(each) for each in lines.values()), default=0.0)


def together(lines: list[Line]) -> float:
    """Seconds for which two runs of one job gave signs of life at the same time."""
    runs: list[tuple[float, float]] = []
    latest: dict[int, int] = {}
    for line in sorted(lines, key=lambda each: each.at):
        if line.what == "begin":
            latest[line.pid] = len(runs)
            runs.append((line.at, line.at))
        elif line.pid in latest:
            place = latest[line.pid]
            runs[place] = (runs[place][0], line.at)
    runs.sort()
    worst = 0.0
    for (_, end), (begin, other_end) in itertools.pairwise(runs):
        worst = max(worst, min(end, other_end) - begin)
    return worst
