"""Everything that must pass before a release, on a machine where nothing was installed by hand.

1. ``make check``.
2. ``make test``, as the README says, on the oldest Python and Django, and on the newest.
3. A quick suite (SQLite) between them.

Ends with pytest's closing line, all runs added up, and exit code 1 if anything failed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import interpreters  # noqa: E402
from closing import Closing, Step  # noqa: E402

# In seconds: what is not done by then has failed.
BUDGET = 80 * 60


class Pair(NamedTuple):
    """A Django release and the Pythons to run it on, best first."""

    django: str
    pythons: tuple[str, ...]
    databases: str = "sqlite,postgresql,mariadb"
    only: str = ""
    """What to run of the suite; all of it, if empty."""


QUICK = (
    "tests/bus tests/jobs tests/running tests/drivers/test_database.py tests/worker/test_running.py"
)

PAIRS = (
    Pair("5.2", ("3.10",)),
    Pair("6.1", ("3.14", "3.13")),
    Pair("6.0", ("3.12",), databases="sqlite", only=QUICK),
)


def main() -> int:
    os.chdir(ROOT)
    os.environ.setdefault("CI", "true")
    closing = Closing()
    deadline = time.monotonic() + BUDGET

    def make(name: str, *arguments: str) -> None:
        left = max(1.0, deadline - time.monotonic())
        closing.run(Step(name, ["make", "--no-print-directory", *arguments]), timeout=left)

    make("make check", "--keep-going", "check")
    tried = 0
    for pair in PAIRS:
        python = interpreter(pair.pythons)
        if python is None:
            names = " or ".join(pair.pythons)
            print(f"Django {pair.django}: skipped: no Python {names} on PATH, with pyenv or uv.")
            continue
        tried += 1
        version, path = python
        make(
            f"make test, Python {version}, Django {pair.django}: {pair.databases}",
            "test",
            f"PYTHON={path}",
            f"VENV=.venv-{version}-{pair.django}",
            f"DJANGO={pair.django}",
            f"DATABASES={pair.databases}",
            f"ARGS={pair.only}",
        )
    if not tried:
        closing.failed.append("no pair of Python and Django could be tested")
    return closing.show()


def interpreter(versions: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the first version that is here, or else that uv can fetch, and its path."""
    for look in (interpreters.find, interpreters.fetch):
        for version in versions:
            path = look(version)
            if path is not None:
                return version, path
    return None


if __name__ == "__main__":
    raise SystemExit(main())
