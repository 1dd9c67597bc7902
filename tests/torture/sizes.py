"""What a run is on, and how large it is: small in the suite, else as `tests.torture` was told."""

from __future__ import annotations

import os

JOBS = "DJQUEUE_TORTURE_JOBS"
KILLS = "DJQUEUE_TORTURE_KILLS"
BATCHES = "DJQUEUE_TORTURE_BATCHES"
CHAINS = "DJQUEUE_TORTURE_CHAINS"
ATOMIC = "DJQUEUE_TORTURE_ATOMIC"
CRASHES = "DJQUEUE_TORTURE_CRASHES"
NOOPS = "DJQUEUE_TORTURE_NOOPS"
UNIQUE = "DJQUEUE_TORTURE_UNIQUE"
HELD = "DJQUEUE_TORTURE_HELD"
WINDOWS = "DJQUEUE_TORTURE_WINDOWS"
ROUNDS = "DJQUEUE_TORTURE_ROUNDS"
SEED = "DJQUEUE_TORTURE_SEED"
SOAK = "DJQUEUE_SOAK_JOBS"
SOAK_FAILING = "DJQUEUE_SOAK_FAILING"
STORE = "DJQUEUE_TORTURE_STORE"
"""The variable that names the one store of a long run."""

STORES = ("redis", "cluster", "beanstalkd", "sqs")
"""Those beside the database: see `tests.worker.stores`."""


def size(name: str, usual: int) -> int:
    """The size asked for, or the `usual` one."""
    return int(os.environ.get(name, usual))
