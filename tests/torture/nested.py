"""Workers and their children are killed while chains with batches in them run, as members of a
batch; afterwards every count is exact, and each step ran behind the whole batch before it.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict

from djqueue import batch, chain, queues
from djqueue.models import FailedJob, JobBatch, Outbox
from tests.app.chained import called_for, failing_member, member
from tests.ledger import Ledger
from tests.torture.kills import BUDGET, PAUSE, Count, workers

MEMBERS = 105
"""More than go to their queue at the turn of their batch."""


def run(
    ledger: Ledger, *, chains: int, kills: int, seed: int, connection: str = "database"
) -> Count:
    """Kill `kills` processes while a batch of `chains` chains runs, each of a job, a batch and a
    job. In each fourth one a member fails, which breaks the chain. AssertionError with what is
    wrong.
    """
    chance = random.Random(seed)
    count = Count(seed, jobs=chains * (MEMBERS + 2))
    began = time.monotonic()
    each = (_chain(number) for number in range(chains))
    finish = called_for.bind(0, "on_finish")
    outer = batch(each, allow_failures=True, on_finish=finish).using(connection=connection)
    row = outer.dispatch()
    with workers(connection) as made:
        while (
            not row.finished
            or Outbox.objects.exclude(due_at=None).exists()  # what an end called for
            or queues[connection].size("default")
            or count.killed < kills
        ):
            assert time.monotonic() - began < BUDGET, f"{row.pending_jobs} chains left. {count}"
            if count.killed < kills:
                made.kill_next(chance, count)
            time.sleep(chance.uniform(*PAUSE))
            row.refresh_from_db()
        made.stop()
    count.seconds = time.monotonic() - began
    _check(ledger, row, chains, count)
    return count


def _chain(number: int):
    members = [member.bind(number, at) for at in range(1, MEMBERS)]
    failing = number % 4 == 3
    members.insert(MEMBERS // 2, (failing_member if failing else member).bind(number, MEMBERS))
    return chain([member.bind(number, 0), batch(members), member.bind(number, MEMBERS + 1)])


def _check(ledger: Ledger, row: JobBatch, chains: int, count: Count) -> None:
    broken = {str(number) for number in range(chains) if number % 4 == 3}
    counts = (row.total_jobs, row.pending_jobs, row.failed_jobs)
    assert counts == (chains, 0, len(broken)), f"{counts}. {count}"
    count.failed = FailedJob.objects.count()
    assert count.failed == len(broken), count
    assert len({line.id for line in ledger.lines("on_finish")}) == 1, count
    ids, ended = defaultdict(set), defaultdict(list)
    for line in ledger.lines("begin"):
        ids[line.detail].add(line.id)
    several = [detail for detail, found in ids.items() if len(found) > 1]
    assert not several, f"Queued twice: {several}. {count}"
    for line in ledger.lines("end"):
        number, _, step = line.detail.partition(".")
        ended[number].append(int(step))
    for number in map(str, range(chains)):
        steps = list(dict.fromkeys(ended[number]))
        if number in broken:
            assert MEMBERS + 1 not in steps, f"Chain {number} went on. {count}"
        else:
            assert steps[0] == 0, f"Chain {number} began with {steps[0]}. {count}"
            assert steps[-1] == MEMBERS + 1, f"Chain {number} ended with {steps[-1]}. {count}"
            assert sorted(steps) == list(range(MEMBERS + 2)), f"Chain {number}. {count}"
    inner = JobBatch.objects.filter(outer=row.pk)
    for each in inner:
        assert each.finished, f"{each.pk} {each.turn}. {count}"
        assert each.turn == ("failed" if each.failed_jobs else "over"), count
    left = Outbox.objects.exclude(broken=True).exclude(due_at__isnull=False)
    assert not left.exists(), f"{list(left.values_list('chain', 'position'))}. {count}"
