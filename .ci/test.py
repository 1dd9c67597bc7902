"""Run the suite on SQLite, then what touches a database on each of the other vendors.

python .ci/test.py [--databases sqlite,postgresql,mariadb] [pytest's own arguments]
"""

from __future__ import annotations

import argparse
import sys

from closing import Closing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql,mariadb")
    arguments, extra = parser.parse_known_args()
    closing = Closing()
    for position, database in enumerate(arguments.databases.split(",")):
        command = [
            sys.executable,
            "-m",
            "pytest",
            # Tests start, starve and kill real processes: one that a busy machine held up for too
            # long is run once more, and the run says so.
            "--reruns=1",
            "--reruns-delay=1",
            *(["--color=yes"] if sys.stdout.isatty() else []),
        ]
        # Everything once; again only what can differ.
        command += ["-m", "database"] if position else []
        closing.run(database, [*command, *extra], {"DJQUEUE_TEST_DB": database})
    return closing.show()


if __name__ == "__main__":
    raise SystemExit(main())
