"""The long runs: `python -m tests.torture [sqlite … redis sqs …] [--jobs N] [--kills N]`.

The same tests as in `tests/worker`, with the sizes that a release is judged by: on a database, or
on a store beside the one that DJQUEUE_TEST_DB names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping

from tests.databases import VENDORS
from tests.torture.sizes import (
    ATOMIC,
    BATCHES,
    CHAINS,
    CRASHES,
    JOBS,
    KILLS,
    NOOPS,
    ROUNDS,
    SEED,
    STORE,
    STORES,
    WINDOWS,
)

PLACES = (*VENDORS, *STORES)
TROUBLES = "tests/worker/test_troubles.py"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument(
        "places",
        nargs="*",
        default=list(VENDORS),
        metavar="place",
        help=f"Where the jobs are kept: {', '.join(PLACES)}. All databases if none is named.",
    )
    parser.add_argument(
        "--jobs", type=int, help="Jobs of 0 to 20 ms in each run: 20,000 on a database, else half."
    )
    parser.add_argument("--kills", type=int, default=100, help="Processes to kill in each run.")
    parser.add_argument("--rounds", type=int, default=20, help="Pairs of troubles in each run.")
    parser.add_argument(
        "--crashes", type=int, default=20, help="Kills at each step of finishing (-k crashes)."
    )
    parser.add_argument("--seed", type=int, default=1, help="Of the troubles and of the kills.")
    parser.add_argument("-k", default="", help="Only the tests whose name matches.")
    options = parser.parse_args()
    if unknown := set(options.places).difference(PLACES):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(PLACES)}.")
    worst = 0
    for place in options.places:
        print(f"== {place}", flush=True)
        jobs = options.jobs or (20_000 if place in VENDORS else 10_000)
        sizes = {
            JOBS: jobs,
            KILLS: options.kills,
            ATOMIC: jobs // 4,
            CHAINS: jobs // 100,
            BATCHES: jobs // 400,
            CRASHES: options.crashes,
            NOOPS: jobs,
            WINDOWS: 1000,
            ROUNDS: options.rounds,
            SEED: options.seed,
        }
        worst = max(worst, _run(place, sizes, options.k))
    return worst


def _run(place: str, sizes: Mapping[str, int], only: str) -> int:
    env = {**os.environ, **{name: str(size) for name, size in sizes.items()}}
    if place in VENDORS:
        env["DJQUEUE_TEST_DB"] = place
        names = ("kills", "crashes", "chains", "results", "windows")
        files = [*(f"tests/worker/test_{name}.py" for name in names), TROUBLES]
    else:
        env[STORE] = place
        names = ("kills", "crashes", "chains", "results")
        files = [*(f"tests/worker/test_store_{name}.py" for name in names), TROUBLES]
    line = [sys.executable, "-m", "pytest", "-s", "-q", "--no-header", "--timeout=0"]
    return subprocess.run([*line, *files, "-k", only], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
