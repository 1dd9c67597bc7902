"""Run the suite on SQLite, and what touches a database on each of the other vendors.

python .ci/test.py [--databases sqlite,postgresql,mariadb] [pytest's own arguments]
"""

from __future__ import annotations

import argparse
import compileall
import os
import sys
from collections.abc import Iterator

from closing import Closing, Step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql,mariadb")
    arguments, extra = parser.parse_known_args()
    # A run starts workers by the hundred; where Python writes no bytecode, each would compile anew.
    for package in ("djqueue", "tests", "demo_project"):
        compileall.compile_dir(package, quiet=2)
    closing = Closing()
    # Much of a run is waiting: one more goes side by side than there are processors. With more,
    # leases of a few seconds end because nobody is given the time to renew them.
    at_once = (os.cpu_count() or 1) + 1
    closing.run(*steps(arguments.databases.split(","), extra), at_once=at_once)
    return closing.show()


def steps(databases: list[str], extra: list[str]) -> Iterator[Step]:
    """On the first database everything, on the others what can differ."""
    first, *others = databases
    workers = "tests/worker"
    if extra:
        yield step(first, first, *extra)
    else:  # by far the longest run: three parts
        yield step(first, first, "-m", "database")
        yield step("any database", first, "-m", "not database", f"--ignore={workers}")
        yield step("any database, workers", first, "-m", "not database", workers)
    for database in others:
        yield step(database, database, "-m", "database", *extra)


def step(name: str, database: str, *arguments: str) -> Step:
    """One run of pytest."""
    command = [sys.executable, "-m", "pytest"]
    # Tests marked `wallclock` start, starve and kill real processes: one that a busy machine held
    # up for too long is run once more, and the run says so.
    command += ["--rerun-show-tracebacks"]
    if sys.stdout.isatty():
        command.append("--color=yes")
    return Step(name, [*command, *arguments], {"DJQUEUE_TEST_DB": database})


if __name__ == "__main__":
    raise SystemExit(main())
