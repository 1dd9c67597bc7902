"""A worker's processes neither grow nor gather descriptors, however many jobs they run or fail.

`make soak` makes the runs long.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pytest

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob, QueuedJob
from djqueue.worker.machine import resident
from tests.app import jobs
from tests.support import start_worker, wait_until
from tests.torture.sizes import SOAK, SOAK_FAILING, size

CHUNK = 2_000
AHEAD = 20_000
"""Jobs that wait at most while more are dispatched."""
ALLOWED = 4 << 20 if size(SOAK, 0) == 0 else 1 << 20
"""Bytes of growth after the first third: a short run is not warm as early."""


class Sample(NamedTuple):
    """What a worker's processes occupy."""

    memory: dict[int, int]
    descriptors: dict[int, int]


def sample(pids: list[int]) -> Sample:
    descriptors = {pid: sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) for pid in pids}
    return Sample({pid: resident(pid) for pid in pids}, descriptors)


@pytest.mark.scenario
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
@pytest.mark.parametrize("kind", ["done", "failed"])
def test_processes_stay_as_large_as_they_were(kind, ledger, transactional_db):
    count = size(SOAK, 8_000) if kind == "done" else size(SOAK_FAILING, 600)
    bound = jobs.nothing.bind() if kind == "done" else jobs.boom.bind("x")
    chunk = min(CHUNK, count // 6)
    with start_worker("--workers", 1) as worker:
        sent, warm, began = 0, None, time.monotonic()
        while (left := queues["database"].counts("default").waiting or 0) or sent < count:
            if sent < count and left < AHEAD:
                sent += dispatch_many(bound for _ in range(chunk))
            else:
                time.sleep(0.05)
            if warm is None and sent - left > count // 3:
                warm = sample([worker.pid, *worker.children])
        assert warm is not None
        # One query: a busy worker hands back what it will not begin in time.
        wait_until(lambda: not QueuedJob.objects.exists(), 60)
        now = sample(list(warm.memory))
        took = time.monotonic() - began
    grown = {pid: now.memory[pid] - warm.memory[pid] for pid in warm.memory}
    print(
        f"{count} jobs {kind} in {took:.0f} s; MB {[m >> 20 for m in now.memory.values()]}, grown"
        f" by KB {[each >> 10 for each in grown.values()]}; descriptors {now.descriptors}"
    )
    assert max(grown.values()) <= ALLOWED
    # Fewer is well: SQLite's journal was perhaps open when the first were counted.
    assert all(now.descriptors[pid] <= count for pid, count in warm.descriptors.items())
    if kind == "failed":
        assert FailedJob.objects.count() == sent
        FailedJob.objects.all().delete()
