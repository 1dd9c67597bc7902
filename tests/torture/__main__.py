"""The long runs: `python -m tests.torture [sqlite postgresql mariadb …] [--jobs N] [--kills N]`.

The same tests as in `tests/worker/test_kills.py`, with the sizes that a release is judged by.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.databases import VENDORS
from tests.torture.sizes import ATOMIC, JOBS, KILLS, NOOPS, WINDOWS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("vendors", nargs="*", default=list(VENDORS), help="Databases to run on.")
    parser.add_argument("--jobs", type=int, default=20_000, help="Jobs of 0 to 20 ms in each run.")
    parser.add_argument("--kills", type=int, default=100, help="Processes to kill in each run.")
    parser.add_argument("-k", default="", help="Only the tests whose name matches.")
    options = parser.parse_args()
    worst = 0
    for vendor in options.vendors:
        print(f"== {vendor}", flush=True)
        sizes = {JOBS: options.jobs, KILLS: options.kills, ATOMIC: options.jobs // 4}
        sizes |= {NOOPS: options.jobs, WINDOWS: 1000}
        env = {**os.environ, "DJQUEUE_TEST_DB": vendor}
        env.update({name: str(size) for name, size in sizes.items()})
        line = [sys.executable, "-m", "pytest", "-s", "-q", "--no-header", "--timeout=0"]
        line += ["tests/worker/test_kills.py", "tests/worker/test_windows.py", "-k", options.k]
        worst = max(worst, subprocess.run(line, env=env, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
