"""Everything that must pass before a release, on a machine where nothing was installed by hand.

1. ``make check``, while the environments of what follows are made.
2. ``make test``, as the README says, on the oldest Python and Django, and on the newest.
3. A quick suite (SQLite) between them.

Ends with pytest's closing line, all runs added up, and exit code 1 if anything failed.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
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
    only: tuple[str, ...] = ()
    """What to run of the suite; all of it, if empty."""


class Found(NamedTuple):
    """A pair, and the Python to run it on."""

    pair: Pair
    version: str
    variables: dict[str, str]
    """What `make` has to know of it."""


QUICK = (
    "tests/dispatch",
    "tests/jobs",
    "tests/runner",
    "tests/drivers/test_database.py",
    "tests/worker/test_running.py",
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

    def run(*steps: Step) -> None:
        closing.run(*steps, timeout=max(1.0, deadline - time.monotonic()))

    pairs = list(found())
    if not pairs:
        closing.failed.append("no pair of Python and Django could be tested")
    run(Step("make check", make("--keep-going", "check")), *environments(pairs))
    for each in pairs:
        databases, only = each.pair.databases, " ".join(each.pair.only)
        name = f"make test, Python {each.version}, Django {each.pair.django}: {databases}"
        run(Step(name, make("test", **each.variables, DATABASES=databases, ARGS=only)))
    return closing.show()


def found() -> Iterator[Found]:
    """The pairs whose Python is here."""
    for pair in PAIRS:
        python = interpreter(pair.pythons)
        if python is None:
            names = " or ".join(pair.pythons)
            print(f"Django {pair.django}: skipped: no Python {names} on PATH, with pyenv or uv.")
            continue
        version, path = python
        venv = f".venv-{version}-{pair.django}"
        yield Found(pair, version, {"PYTHON": path, "VENV": venv, "DJANGO": pair.django})


def environments(pairs: list[Found]) -> Iterator[Step]:
    """A step that makes the environments of all pairs, one after another."""
    commands = [shlex.join(make("services", "test-venv", **each.variables)) for each in pairs]
    if commands:
        yield Step("environments", ["sh", "-c", " && ".join(commands)])


def make(*arguments: str, **variables: str) -> list[str]:
    """The command line of `make`."""
    return [
        *("make", "--no-print-directory", *arguments),
        *(f"{name}={value}" for name, value in variables.items()),
    ]


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
