"""A driver with a bug of its own, which shows when a test says so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from djqueue.drivers.base import Promotion, Settlement
from djqueue.drivers.database import DatabaseDriver
from djqueue.errors import QueueUnavailable
from tests.ledger import VARIABLE


def _bug() -> Path:
    return Path(os.environ[VARIABLE] + ".bug")


def show(how: str) -> None:
    """From now on every worker has it."""
    _bug().write_text(how)


class BuggyDriver(DatabaseDriver):
    """Raises what no driver should; with "away", and cannot reach its store afterwards."""

    def promote(self, queues: Sequence[str]) -> Promotion:
        if _bug().exists():
            raise ZeroDivisionError("a bug")
        return super().promote(queues)

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        if _bug().exists() and _bug().read_text() == "away":
            raise QueueUnavailable("It is away.")
        return super().settle(settlements)
