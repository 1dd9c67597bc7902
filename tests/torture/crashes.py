"""A process is killed before and after each step of finishing; afterwards everything that was to
follow has followed, once.
"""

from __future__ import annotations

import contextlib
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from djqueue import batch, chain, queues
from djqueue.dispatch.unique.held import held
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, Run
from tests.app import chained, jobs, keeping
from tests.app.models import Note
from tests.app.unique import once
from tests.ledger import Ledger
from tests.support import WorkerProcess, start_worker
from tests.torture.points import VARIABLE, Armed, points_of

STEPS, MEMBERS = 3, 5
CALLED = {"on_failure": 1, "on_finish": 1, "on_success": 0, "each": 1}
"""How often a batch of which one member fails calls for each job."""
PATIENCE = 60.0
"""Seconds in which a process has to come to the armed point."""
REST = 120.0
"""Seconds in which something has to change until nothing is left to do."""
KINDS = 10
"""Numbers that a lot has: one for each of its parts."""


@dataclass
class Count:
    """What a run was like."""

    store: str
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Points to which no process came."""
    jobs: int = 0
    runs: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        times = sorted(self.killed.values())
        each = f"{times[0]} to {times[-1]}" if times else "0"
        return (
            f"{self.store}, seed {self.seed}: killed {self.killed.total()} times, at"
            f" {len(self.killed)} points {each} times each, in {self.seconds:.0f} s;"
            f" {self.jobs} jobs, {self.runs} runs; missed {dict(self.missed)}"
        )


class Lot:
    """Jobs of every kind that something follows from. Every second lot is atomic."""

    def __init__(self, number: int, connection: str, point: str) -> None:
        self.point = point
        self._chain, self._batch, self._once, self._kept, self._plain = (
            number * KINDS + kind for kind in range(5)
        )
        self._atomic = number % 2 == 1
        step = chained.atomic_step if self._atomic else chained.step
        member = chained.atomic_member if self._atomic else chained.member
        steps = [step.bind(self._chain, at) for at in range(STEPS)]
        chain(steps).using(connection=connection).dispatch()
        members = [member.bind(self._batch, at) for at in range(1, MEMBERS)]
        called = {name: chained.called_for.bind(self._batch, name) for name in CALLED}
        called["allow_failures"] = called.pop("each")
        whole = batch([chained.failing_member.bind(self._batch, 0), *members], **called)
        self._row: JobBatch = whole.using(connection=connection).dispatch()
        once.using(connection=connection).dispatch(self._once)
        keeping.sturdy_kept.using(connection=connection).dispatch(self._kept)
        jobs.sturdy.using(connection=connection).dispatch(self._plain)

    @property
    def batch_id(self) -> str:
        return str(self._row.pk)

    def faults(self, seen: Seen) -> Iterator[str]:
        """What is missing, or is there too often."""
        begun = {f"{self._chain}.{at}": 1 for at in range(STEPS)}
        begun |= {f"{self._batch}.{at}": 1 for at in range(MEMBERS)}
        begun |= {str(number): 1 for number in (self._once, self._kept, self._plain)}
        for detail, times in begun.items():
            if seen.queued["begin", detail] != times:
                yield f"{detail} was queued {seen.queued['begin', detail]} times"
        yield from self._faults_of_ends(seen)
        for name, times in CALLED.items():
            if (found := seen.queued[name, str(self._batch)]) != times:
                yield f"{name} was called for {found} times"
        row = seen.batches[self.batch_id]
        if row != (MEMBERS, 0, 1, True):
            yield f"its batch has counted {row}"
        if (failed := seen.failed[self.batch_id]) != 1:
            yield f"{failed} members have failed"
        if seen.results[str(self._kept)] != 1:
            yield "its result is missing"

    def _faults_of_ends(self, seen: Seen) -> Iterator[str]:
        """Atomic jobs leave their rows once, others come to their end at least once."""
        values = [list(range(at + 1)) for at in range(STEPS)]
        ended = [f"{self._chain}.{at} {value}" for at, value in enumerate(values)]
        ended += [f"{self._batch}.{at}" for at in range(1, MEMBERS)]
        for text in ended:
            if self._atomic and seen.notes[text] != 1:
                yield f"{text} was written {seen.notes[text]} times"
            elif not self._atomic and text not in seen.ended:
                yield f"{text} has not ended"


class Seen:
    """What all lots have left behind so far."""

    def __init__(self, ledger: Ledger) -> None:
        lines = ledger.lines()
        ids = {(line.what, line.detail, line.id) for line in lines}
        self.queued = Counter((what, detail) for what, detail, _ in ids)
        """How many jobs did it, by what they did: one that ran again has the same id."""
        self.ended = {line.detail for line in lines if line.what == "end"}
        self.runs = sum(1 for line in lines if line.what == "begin")
        self.notes = Counter(Note.objects.values_list("text", flat=True))
        counts = ("total_jobs", "pending_jobs", "failed_jobs", "finished_at")
        self.batches = {
            str(id): (*numbers, finished is not None)
            for id, *numbers, finished in JobBatch.objects.values_list("pk", *counts)
        }
        failed = FailedJob.objects.values_list("batch_id", flat=True)
        self.failed = Counter(str(batch) for batch in failed)
        done = JobResult.objects.filter(status="done").values_list("value", flat=True)
        self.results = Counter(map(str, done))


_SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.crashing_settings"}


class Place:
    """A connection, its worker, and the lots that are dispatched to it."""

    def __init__(self, store: str, connection: str, ledger: Ledger) -> None:
        self.count_of = Count(store, 0)
        self._began = time.monotonic()
        self._connection = connection
        self._ledger = ledger
        self._lots: list[Lot] = []
        self._folder = tempfile.TemporaryDirectory(prefix="djqueue-crashes-")
        self._armed = Armed(Path(self._folder.name))
        self._stack = contextlib.ExitStack()
        self._worker: WorkerProcess | None = None

    def close(self) -> None:
        """Stop the worker."""
        self._stack.close()
        self._folder.cleanup()

    def kill_at(self, point: str) -> None:
        """Dispatch a lot, and let a process die at `point` while it runs."""
        self._armed.arm(point)
        self._lots.append(Lot(len(self._lots) + 1, self._connection, point))
        end = time.monotonic() + PATIENCE
        while not self._armed.has_killed and time.monotonic() < end:
            self._keep_working()
            time.sleep(0.005)
        came = self.count_of.killed if self._armed.has_killed else self.count_of.missed
        came[point] += 1
        self._armed.disarm()

    def _keep_working(self) -> None:
        if self._worker is None or not self._worker.is_running:
            if self._worker is not None:
                assert self._worker.wait() == -signal.SIGKILL, self._worker.output
            self._stack.close()
            variables = {VARIABLE: self._folder.name, **_SETTINGS}
            line = start_worker(self._connection, "--sleep", 0.1, **variables)
            self._worker = self._stack.enter_context(line)

    def come_to_rest(self) -> None:
        """Let all that is left be done; AssertionError with what is wrong afterwards."""
        last, faults = time.monotonic(), self._faults()
        while faults and time.monotonic() - last < REST:
            self._keep_working()
            time.sleep(0.1)
            if (now := self._faults()) != faults:
                last, faults = time.monotonic(), now
        if self._worker is not None:
            self._worker.stop()
        faults = faults or self._faults()
        self.count_of.seconds = time.monotonic() - self._began
        assert not faults, "\n".join([*faults, str(self.count_of)])

    def _faults(self) -> list[str]:
        seen = Seen(self._ledger)
        faults = [
            f"{lot.point}, lot {number}: {fault}"
            for number, lot in enumerate(self._lots, 1)
            for fault in lot.faults(seen)
        ]
        if left := queues[self._connection].size("default"):
            faults.append(f"{left} jobs are left")
        own = [lot.batch_id for lot in self._lots]
        if waiting := Outbox.objects.exclude(chain__in=own).count():
            faults.append(f"{waiting} jobs are left in the outbox")
        if keys := list(held()):
            faults.append(f"Keys that are left: {keys}")
        if guards := Run.objects.filter(ended=False).exclude(held_as="").count():
            faults.append(f"{guards} guard rows of jobs that are held")
        self.count_of.jobs, self.count_of.runs = len(seen.queued), seen.runs
        return faults


def run(ledger: Ledger, *, times: int, seed: int, store: str = "database", only: str = "") -> Count:
    """Kill a process at each point, `times` times, in an order that `seed` decides."""
    connection = "database" if store == "database" else "store"
    points = [point for point in points_of(store) if only in point] * times
    random.Random(seed).shuffle(points)
    place = Place(store, connection, ledger)
    place.count_of.seed = seed
    with contextlib.closing(place):
        for point in points:
            place.kill_at(point)
        place.come_to_rest()
    count = place.count_of
    assert not count.missed, f"Points to which no process came. {count}"
    return count
