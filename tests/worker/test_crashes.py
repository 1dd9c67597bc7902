"""A process is killed at each step of finishing, in the database."""

from __future__ import annotations

import pytest

from tests import databases
from tests.torture import crashes
from tests.torture.kills import LEASE
from tests.torture.sizes import CRASHES, SEED, size

pytestmark = pytest.mark.scenario

few = size(CRASHES, 1)


@pytest.mark.skipif(few == 1 and databases.vendor() != "sqlite", reason="once is enough")
def test_all_that_follows_follows_once_wherever_the_process_dies_that_finishes(ledger, settings):
    database = {"DRIVER": "database", "RETRY_AFTER": LEASE}
    settings.DJQUEUE = {"DEFAULT": "database", "CONNECTIONS": {"database": database}}
    print(crashes.run(ledger, times=few, seed=size(SEED, 1)))
