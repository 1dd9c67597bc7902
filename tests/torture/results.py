"""Workers and their children are killed while jobs run whose results are kept; none is missing."""

from __future__ import annotations

import random
import time

from djqueue import dispatch_many, queues
from djqueue.models import JobResult
from tests.app import keeping
from tests.torture.kills import BUDGET, LONGEST, PAUSE, Count, workers


def run(*, jobs: int, kills: int, seed: int, connection: str = "database") -> Count:
    """Kill `kills` processes while `jobs` jobs run. AssertionError if one of them has not, in the
    end, the result that it returned.
    """
    chance = random.Random(seed)
    count = Count(seed, jobs=jobs)
    began = time.monotonic()
    job = keeping.sturdy_kept.using(connection=connection)
    dispatch_many(job.bind(number, chance.uniform(0, LONGEST)) for number in range(jobs))
    waiting = JobResult.objects.filter(finished_at=None)
    with workers(connection) as made:
        while (left := waiting.count()) or queues[connection].size("default"):
            assert time.monotonic() - began < BUDGET, f"{left} results are missing. {count}"
            if count.killed < kills:
                made.kill_next(chance, count)
            time.sleep(chance.uniform(*PAUSE))
        made.stop()
    count.seconds = time.monotonic() - began
    values = JobResult.objects.filter(status="done").values_list("value", flat=True)
    assert sorted(map(int, values)) == list(range(jobs)), f"Not each has its own value. {count}"
    return count
