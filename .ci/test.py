"""Run the suite on SQLite, and what touches a database on each of the other vendors.

python .ci/test.py [--databases sqlite,postgresql,mariadb] [pytest's own arguments]
"""

from __future__ import annotations

import argparse
import sys

from closing import Closing, Step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql,mariadb")
    arguments, extra = parser.parse_known_args()
    closing = Closing()
    # Much of a run is waiting: the databases' runs go side by side.
    closing.run(
        *(
            Step(database, pytest(extra, whole=position == 0), {"DJQUEUE_TEST_DB": database})
            for position, database in enumerate(arguments.databases.split(","))
        )
    )
    return closing.show()


def pytest(extra: list[str], *, whole: bool) -> list[str]:
    """The command for one database: everything once, then only what can differ."""
    command = [sys.executable, "-m", "pytest"]
    # Tests start, starve and kill real processes: one that a busy machine held up for too long is
    # run once more, and the run says so.
    command += ["--reruns=1", "--reruns-delay=1"]
    if sys.stdout.isatty():
        command.append("--color=yes")
    if not whole:
        command += ["-m", "database"]
    return [*command, *extra]


if __name__ == "__main__":
    raise SystemExit(main())
