"""Every test here commits, and keeps a ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import databases
from tests import ledger as ledgers
from tests.worker.stores import ASKED_FOR


@pytest.fixture
def ledger(transactional_db: None) -> Iterator[ledgers.Ledger]:
    with ledgers.kept() as ledger:
        yield ledger


# What other stores do does not depend on the vendor beside them: once is enough.
collect_ignore_glob = [] if databases.vendor() == "sqlite" or ASKED_FOR else ["test_store*.py"]
