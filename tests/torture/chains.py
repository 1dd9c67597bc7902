"""Workers and their children are killed while chains run; afterwards each step was queued once."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import Any

from djqueue import chain, queues
from djqueue.models import FailedJob, Outbox
from tests.app import chained
from tests.ledger import Ledger
from tests.torture.kills import BUDGET, LONGEST, PAUSE, Count, workers

STEPS = 10


def run(
    ledger: Ledger, job: Any, *, chains: int, kills: int, seed: int, connection: str = "database"
) -> Count:
    """Kill `kills` processes while `chains` chains of `STEPS` steps run; the last one of each
    fails. AssertionError with what is wrong.
    """
    chance = random.Random(seed)
    count = Count(seed, jobs=chains * (STEPS + 2))
    began = time.monotonic()
    for number in range(chains):
        steps = [job.bind(number, step, chance.uniform(0, LONGEST)) for step in range(STEPS)]
        whole = chain([*steps, chained.last_step.bind(number), job.bind(number, -1)])
        whole.on_failure(chained.alert.bind(number)).using(connection=connection).dispatch()
    with workers(connection) as made:
        while (
            len(set(ledger.details("alert"))) < chains
            or queues[connection].size("default")
            or count.killed < kills
        ):
            left = chains - len(set(ledger.details("alert")))
            assert time.monotonic() - began < BUDGET, f"{left} chains are left. {count}"
            if count.killed < kills:
                made.kill_next(chance, count)
            time.sleep(chance.uniform(*PAUSE))
        made.stop()
    count.seconds = time.monotonic() - began
    _account(ledger, chains, count)
    return count


def _account(ledger: Ledger, chains: int, count: Count) -> None:
    ids, order = defaultdict(set), defaultdict(list)
    for line in ledger.lines("begin"):
        ids[line.detail].add(line.id)
        number, _, step = line.detail.partition(".")
        order[number].append(step)
    count.runs = len(ledger.lines("begin"))
    expected = {f"{n}.{step}" for n in range(chains) for step in (*range(STEPS), "last")}
    assert ids.keys() == expected, f"Steps that should not run, or did not. {count}"
    several = [step for step, found in ids.items() if len(found) > 1]
    assert not several, f"Steps that were queued twice: {several}. {count}"
    in_order = [*map(str, range(STEPS)), "last"]
    for number, steps in order.items():
        assert list(dict.fromkeys(steps)) == in_order, f"Chain {number} ran in another order."
    alerts = ledger.lines("alert")
    assert len({line.id for line in alerts}) == chains, f"Alerts were queued twice. {count}"
    count.failed = FailedJob.objects.count()
    assert count.failed == chains, f"{count.failed} failed jobs. {count}"
    steps = Outbox.objects.filter(chain__isnull=False)  # others are pushed again, and run no more
    waiting = list(steps.values_list("position", "broken"))
    assert waiting == [(STEPS + 2, True)] * chains, f"What waits: {waiting}. {count}"
