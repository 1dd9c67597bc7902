"""Chains in the database, while processes are killed."""

from __future__ import annotations

import pytest

from djqueue.models import QueuedJob
from tests.app import chained
from tests.app.models import Note
from tests.torture import chains
from tests.torture.sizes import CHAINS, KILLS, SEED, size


@pytest.mark.parametrize("job", [chained.step, chained.atomic_step], ids=["plain", "atomic"])
def test_each_step_is_queued_once_when_processes_are_killed(ledger, job):
    many, kills = size(CHAINS, 6), size(KILLS, 6)
    count = chains.run(ledger, job, chains=many, kills=kills, seed=size(SEED, 4))
    print(count)
    assert not QueuedJob.objects.exists()
    if job is chained.atomic_step:
        notes = sorted(Note.objects.values_list("text", flat=True))
        numbers = range(chains.STEPS)
        each = [f"{step} {list(range(step + 1))}" for step in numbers]
        assert notes == sorted(f"{chain}.{text}" for chain in range(many) for text in each)
