"""Run the suite on SQLite, and what touches a database on each of the other vendors.

python .ci/test.py [--databases sqlite,postgresql,mariadb] [pytest's own arguments]
"""

from __future__ import annotations

import argparse
import sys

from closing import AT_ONCE, Closing
from streams import streams


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql,mariadb")
    arguments, extra = parser.parse_known_args()
    closing = Closing()
    closing.run(*streams(sys.executable, arguments.databases.split(","), extra), at_once=AT_ONCE)
    return closing.show()


if __name__ == "__main__":
    raise SystemExit(main())
