"""Every test here commits, and keeps a ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import ledger as ledgers


@pytest.fixture
def ledger(transactional_db: None) -> Iterator[ledgers.Ledger]:
    with ledgers.kept() as ledger:
        yield ledger
