"""Workers and their children are killed while jobs run; afterwards every job is accounted for."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob
from tests.ledger import Ledger
from tests.services.processes import descendants
from tests.support import ROOT, environment

LEASE = 3
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Count:
    """What a run was like."""

    seed: int
    jobs: int
    parents_killed: int = 0
    children_killed: int = 0
    runs: int = 0
    extra_runs: int = 0
    failed: int = 0
    seconds: float = 0.0
    unexplained: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.jobs} jobs in {self.seconds:.0f} s, killed"
            f" {self.parents_killed} parents and {self.children_killed} children;"
            f" {self.runs} runs, {self.extra_runs} of them extra, {self.failed} failed"
        )


class Workers:
    """Two workers with two children each; a killed one is started again."""

    def __init__(self, folder: Path, connection: str, overrides: Mapping[str, Any] | None) -> None:
        self._folder = folder
        self._connection = connection
        self._env = {**os.environ, **environment(overrides)}
        self._started = 0
        self.processes = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[bytes]:
        self._started += 1
        line = [sys.executable, "-m", "django", "queue_work", self._connection, "--workers", "2"]
        with (self._folder / f"worker-{self._started}").open("wb") as output:
            return subprocess.Popen(
                line, cwd=ROOT, env=self._env, stdout=output, stderr=subprocess.STDOUT
            )

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

    def output(self) -> str:
        files = sorted(self._folder.glob("worker-*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)


@contextlib.contextmanager
def workers(connection: str, overrides: Mapping[str, Any] | None) -> Iterator[Workers]:
    with tempfile.TemporaryDirectory(prefix="djqueue-torture-") as folder:
        made = Workers(Path(folder), connection, overrides)
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
    overrides: Mapping[str, Any] | None = None,
    longest: float = 0.02,
    pause: tuple[float, float] = (0.1, 0.6),
    check_runs: bool = True,
    budget: float = 1500.0,
    progress: Callable[[str], None] = lambda text: None,
) -> Count:
    """Dispatch `jobs` and kill at least `kills` processes until all are done; AssertionError with
    what is wrong.
    """
    chance = random.Random(seed)
    count = Count(seed, jobs)
    began = time.monotonic()
    total = dispatch_many(
        job.using(connection=connection).bind(number, chance.uniform(0, longest))
        for number in range(jobs)
    )
    assert total == jobs
    with workers(connection, overrides) as made:
        while (left := queues[connection].size("default")) or _killed(count) < kills:
            assert time.monotonic() - began < budget, f"{left} jobs are left. {count}"
            if left:
                if count.parents_killed <= count.children_killed:
                    made.kill_parent(chance)
                    count.parents_killed += 1
                elif made.kill_child(chance):
                    count.children_killed += 1
                progress(f"{left} left, {count}")
            elif _killed(count) < kills:
                raise AssertionError(f"All were done before enough was killed: {count}")
            if _killed(count) >= kills and chance.random() < 0.9:
                time.sleep(1)
            time.sleep(chance.uniform(*pause))
        made.stop()
        output = made.output()
    count.seconds = time.monotonic() - began
    _account(ledger, output, count, check_runs=check_runs)
    return count


def _killed(count: Count) -> int:
    return count.parents_killed + count.children_killed


def _account(ledger: Ledger, output: str, count: Count, *, check_runs: bool) -> None:
    """Every job has one end, and every run beyond the first has a line that explains it."""
    begun = ledger.count("begin")
    failed = {str(uuid) for uuid in FailedJob.objects.values_list("uuid", flat=True)}
    explained = Counter(
        id
        for line in output.splitlines()
        if "RELEASED" in line or "FAIL" in line
        for id in _ID.findall(line)
    )
    count.runs = sum(begun.values())
    count.extra_runs = sum(runs - 1 for runs in begun.values())
    count.failed = len(failed)
    if check_runs:
        ended = set(ledger.count("end"))
        assert len(ended | failed) == count.jobs, (
            f"Lost: {count.jobs - len(ended | failed)}. {count}"
        )
    count.unexplained = [id for id, runs in begun.items() if runs - 1 > explained[id]]
    assert not count.unexplained, f"Extra runs without a line: {count.unexplained}. {count}"
