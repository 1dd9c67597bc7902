"""A process is killed at each step of finishing, on every store beside the database."""

from __future__ import annotations

import pytest

from tests.torture import crashes
from tests.torture.sizes import CRASHES, SEED, size

pytestmark = pytest.mark.scenario

few = size(CRASHES, 0)


@pytest.mark.skipif(not few, reason="for long runs: python -m tests.torture redis sqs -k crashes")
def test_all_that_follows_follows_once_wherever_the_process_dies_that_finishes(store, ledger):
    print(crashes.run(ledger, times=few, seed=size(SEED, 1), store=store))
