"""Workers and their children are killed while jobs run; afterwards every job is accounted for."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob
from tests.ledger import Ledger
from tests.services.processes import descendants
from tests.support import Process, Streams, environment, start

LEASE = 3
PARENTS, CHILDREN = 2, 2
LONGEST = 0.02
"""The longest job, in seconds."""
PAUSE = 0.1, 0.6
"""Seconds from one kill to the next."""
BUDGET = 1500
"""Seconds that a run may take."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Count:
    """What a run was like."""

    seed: int
    jobs: int = 0
    parents_killed: int = 0
    children_killed: int = 0
    runs: int = 0
    extra_runs: int = 0
    failed: int = 0
    ended_twice: int = 0
    unexplained: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return self.parents_killed + self.children_killed

    @property
    def most_extra_runs(self) -> int:
        """A kill costs at most a run of each child."""
        return self.killed * PARENTS * CHILDREN

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.jobs} jobs in {self.seconds:.0f} s, killed"
            f" {self.parents_killed} parents and {self.children_killed} children;"
            f" {self.runs} runs, {self.extra_runs} of them extra (at most {self.most_extra_runs}),"
            f" {self.unexplained} of those without a line; {self.failed} failed,"
            f" {self.ended_twice} ended twice"
        )


class Workers:
    """Workers with their children; a killed one is started again."""

    def __init__(self, folder: Path, connection: str) -> None:
        self._folder = folder
        self._connection = connection
        self._started = 0
        self.processes = [self._start() for _ in range(PARENTS)]

    def _start(self) -> Process:
        self._started += 1
        line = ["queue_work", self._connection, "--workers", CHILDREN]
        output = (self._folder / f"worker-{self._started}").open("wb")
        with output, Path(os.devnull).open("rb") as nothing:
            return start(line, environment(), Streams(nothing, output, output))

    def kill_parent(self, chance: random.Random) -> None:
        victim = chance.choice(self.processes)
        victim.kill()
        victim.wait()
        self.processes[self.processes.index(victim)] = self._start()

    def kill_child(self, chance: random.Random) -> bool:
        children = [pid for process in self.processes for pid in descendants(process.pid)]
        if not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
        return True

    def kill_next(self, chance: random.Random, count: Count) -> None:
        """Kill a parent or a child, in turns, and count it."""
        if count.parents_killed <= count.children_killed:
            self.kill_parent(chance)
            count.parents_killed += 1
        elif self.kill_child(chance):
            count.children_killed += 1

    def output(self) -> str:
        files = sorted(self._folder.glob("worker-*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)


@contextlib.contextmanager
def workers(connection: str) -> Iterator[Workers]:
    with tempfile.TemporaryDirectory(prefix="djqueue-torture-") as folder:
        made = Workers(Path(folder), connection)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()


def run(
    ledger: Ledger,
    job: Any,
    *,
    jobs: int,
    kills: int,
    seed: int,
    connection: str = "database",
    check_runs: bool = True,
    at_once: int | None = None,
) -> Count:
    """Kill `kills` processes while `jobs` jobs run, or more if those are done before that;
    AssertionError with what is wrong. No more than twice `at_once` are in the queue at a time.
    """
    chance = random.Random(seed)
    count = Count(seed)
    began = time.monotonic()
    endless = (
        job.using(connection=connection).bind(number, chance.uniform(0, LONGEST))
        for number in itertools.count()
    )
    at_once = min(at_once or jobs, jobs)
    with workers(connection) as made:
        while (
            (left := queues[connection].size("default"))
            or count.jobs < jobs
            or count.killed < kills
        ):
            if not left or (left < at_once and count.jobs < jobs):
                more = dispatch_many(itertools.islice(endless, at_once))
                count.jobs += more
                left += more
            assert time.monotonic() - began < BUDGET, f"{left} jobs are left. {count}"
            if count.killed < kills:
                made.kill_next(chance, count)
            time.sleep(chance.uniform(*PAUSE))
        made.stop()
        output = made.output()
    count.seconds = time.monotonic() - began
    _account(ledger, output, count)
    lost = count.jobs - len(set(ledger.count("end")) | _failed()) if check_runs else 0
    assert not lost, f"Lost: {lost}. {count}"
    assert not count.unexplained, f"Extra runs without a line. {count}"
    assert not count.ended_twice, f"Jobs with two ends. {count}"
    assert count.extra_runs <= count.most_extra_runs, f"Too many extra runs. {count}"
    return count


def _account(ledger: Ledger, output: str, count: Count) -> None:
    """Count how the jobs ended, and which runs beyond the first have no line that explains them."""
    explained: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for line in output.splitlines():
        ids = _ID.findall(line)
        if "RELEASED" in line or "FAIL" in line:
            explained.update(ids)
        if "  DONE" in line or "  FAIL" in line:
            ended.update(ids)
    begun = ledger.count("begin")
    count.runs = sum(begun.values())
    count.extra_runs = sum(runs - 1 for runs in begun.values())
    count.failed = len(_failed())
    # A killed worker may have told of an end that was not stored yet: the job is RELEASED then.
    count.ended_twice = sum(ends - 1 > explained[id] for id, ends in ended.items())
    count.unexplained = sum(max(runs - 1 - explained[id], 0) for id, runs in begun.items())


def _failed() -> set[str]:
    return {str(uuid) for uuid in FailedJob.objects.values_list("uuid", flat=True)}
