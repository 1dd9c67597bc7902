"""Everything that must pass before a release, on a machine where nothing was installed by hand.

1. ``make check``.
2. What ``make test`` runs, on the oldest Python and Django, and on the newest: the streams of both
   share the processors, so that none is idle while the last stream of the first pair ends.
   Scenarios (tests marked so) run on the newest pair alone.
3. ``make test`` itself beside them, with a quick suite (SQLite), on a pair between them.

Ends with pytest's closing line, all runs added up, and exit code 1 if anything failed.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import interpreters  # noqa: E402
from closing import AT_ONCE, Closing, Step  # noqa: E402
from streams import streams  # noqa: E402

# In seconds: what is not done by then has failed.
BUDGET = 80 * 60


class Pair(NamedTuple):
    """A Django release and the Pythons to run it on, best first."""

    django: str
    pythons: tuple[str, ...]
    databases: str = "sqlite,postgresql,mariadb"
    only: tuple[str, ...] = ()
    """What to run of the suite; all of it, if empty."""
    scenarios: bool = False
    """Whether scenarios are run as well."""


class Found(NamedTuple):
    """A pair, and the Python to run it on."""

    pair: Pair
    version: str
    variables: dict[str, str]
    """What `make` has to know of it."""


QUICK = (
    "tests/dispatch/test_dispatching.py",
    "tests/jobs",
    "tests/runner",
    "tests/drivers/test_database.py",
    "tests/worker/test_running.py",
)

PAIRS = (
    Pair("5.2", ("3.10",)),
    Pair("6.1", ("3.14", "3.13"), scenarios=True),
    Pair("6.0", ("3.12",), databases="sqlite", only=QUICK),
)


def main() -> int:
    os.chdir(ROOT)
    os.environ.setdefault("CI", "true")
    closing = Closing()
    pairs = list(found())
    if not pairs:
        closing.failed.append("no pair of Python and Django could be tested")
    check = Step("make check", make("--keep-going", "check"))
    groups = [[check], *(list(steps(each)) for each in pairs)]
    closing.run(*alternating(groups), timeout=BUDGET, at_once=AT_ONCE)
    return closing.show()


def steps(each: Found) -> Iterator[Step]:
    """What runs of the suite on a pair."""
    name = f"Python {each.version}, Django {each.pair.django}"
    databases = each.pair.databases
    if each.pair.only:
        given = {**each.variables, "DATABASES": databases, "ARGS": " ".join(each.pair.only)}
        yield Step(f"make test, {name}: {databases}", make("test", **given))
        return
    # Each stream makes the environment, or waits for the one that does.
    prepare = shlex.join(make("services", "test-venv", **each.variables))
    python = ROOT / each.variables["VENV"] / "bin" / "python"
    for stream in streams(python, databases.split(","), scenarios=each.pair.scenarios):
        command = f"{prepare} && exec {shlex.join(map(str, stream.command))}"
        yield stream._replace(name=f"{name}: {stream.name}", command=["sh", "-c", command])


def alternating(groups: list[list[Step]]) -> Iterator[Step]:
    """The first of each group, the second of each, and so on: what takes longest comes first."""
    for row in itertools.zip_longest(*groups):
        yield from (step for step in row if step is not None)


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
