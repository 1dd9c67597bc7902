"""Chains and batches in the database, while processes are killed."""

from __future__ import annotations

import pytest

from djqueue.models import QueuedJob
from tests.app import chained
from tests.app.models import Note
from tests.databases import vendor
from tests.torture import batches, chains, nested
from tests.torture.sizes import BATCHES, CHAINS, KILLS, SEED, size

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize("job", [chained.step, chained.atomic_step], ids=["plain", "atomic"])
def test_each_step_is_queued_once_when_processes_are_killed(ledger, job):
    many, kills = size(CHAINS, 4), size(KILLS, 4)
    count = chains.run(ledger, job, chains=many, kills=kills, seed=size(SEED, 4))
    print(count)
    assert not QueuedJob.objects.exists()
    if job is chained.atomic_step:
        notes = sorted(Note.objects.values_list("text", flat=True))
        numbers = range(chains.STEPS)
        each = [f"{step} {list(range(step + 1))}" for step in numbers]
        assert notes == sorted(f"{chain}.{text}" for chain in range(many) for text in each)


def test_batches_are_exact_when_processes_are_killed(ledger):
    many, kills = size(BATCHES, 4), size(KILLS, 4)
    print(batches.run(ledger, batches=many, kills=kills, seed=size(SEED, 4)))
    assert not QueuedJob.objects.exists()


@pytest.mark.skipif(size(KILLS, 0) == 0 and vendor() != "sqlite", reason="once is enough")
def test_batches_in_chains_are_exact_when_processes_are_killed(ledger):
    many, kills = size(CHAINS, 4), size(KILLS, 3)
    print(nested.run(ledger, chains=many, kills=kills, seed=size(SEED, 4)))
    assert not QueuedJob.objects.exists()
