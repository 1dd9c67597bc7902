"""Workers and their children are killed while batches run; afterwards every count is exact."""

from __future__ import annotations

import random
import time

from djqueue import batch, queues
from djqueue.models import FailedJob, JobBatch, Outbox
from tests.app.chained import called_for, failing_member, member
from tests.ledger import Ledger
from tests.torture.kills import BUDGET, LONGEST, PAUSE, Count, workers

MEMBERS = 20
FAILING = 10
"""One member of so many fails."""
CALLED = ("on_success", "on_failure", "on_finish")


def run(
    ledger: Ledger, *, batches: int, kills: int, seed: int, connection: str = "database"
) -> Count:
    """Kill `kills` processes while `batches` batches run. In every second one some members fail,
    and the last one is cancelled on the way. AssertionError with what is wrong.
    """
    chance = random.Random(seed)
    count = Count(seed, jobs=batches * MEMBERS)
    began = time.monotonic()
    rows = [_dispatch(number, chance, connection) for number in range(batches)]
    with workers(connection) as made:
        while (
            _left(rows)
            or Outbox.objects.exclude(due_at=None).exists()  # what an end called for
            or queues[connection].size("default")
            or count.killed < kills
        ):
            assert time.monotonic() - began < BUDGET, f"{_left(rows)} batches are left. {count}"
            if count.killed < kills:
                made.kill_next(chance, count)
            if count.killed == 2 and not rows[-1].cancelled:
                rows[-1].cancel()
            time.sleep(chance.uniform(*PAUSE))
        made.stop()
    count.seconds = time.monotonic() - began
    for number, row in enumerate(rows):
        _check(ledger, number, row, count)
    return count


def _dispatch(number: int, chance: random.Random, connection: str) -> JobBatch:
    members = [
        failing_member.bind(number, at)
        if number % 2 and at % FAILING == 0
        else member.bind(number, at, chance.uniform(0, LONGEST))
        for at in range(MEMBERS)
    ]
    called = {name: called_for.bind(number, name) for name in CALLED}
    whole = batch(members, name=str(number), allow_failures=True, **called)
    return whole.using(connection=connection).dispatch()


def _left(rows: list[JobBatch]) -> int:
    return len(rows) - JobBatch.objects.filter(finished_at__isnull=False).count()


def _check(ledger: Ledger, number: int, row: JobBatch, count: Count) -> None:
    row.refresh_from_db()
    failed = FailedJob.objects.filter(batch_id=row.pk).count()
    assert (row.total_jobs, row.pending_jobs, row.failed_jobs) == (MEMBERS, 0, failed), count
    count.failed += failed
    ids = {
        name: {line.id for line in ledger.lines(name) if line.detail == str(number)}
        for name in CALLED
    }
    times = {name: len(found) for name, found in ids.items()}
    success = not failed and not row.cancelled
    wanted = {"on_success": int(success), "on_failure": int(bool(failed)), "on_finish": 1}
    assert times == wanted, f"Batch {number}: {times}, not {wanted}. {count}"
    ended = {line.detail for line in ledger.lines("end") if line.detail.startswith(f"{number}.")}
    if not row.cancelled:
        assert failed == (MEMBERS // FAILING if number % 2 else 0), count
        assert len(ended) == MEMBERS - failed, f"Batch {number}: {len(ended)} ended. {count}"
