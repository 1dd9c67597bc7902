"""The runs of pytest that are the whole suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from closing import Step

_WORKERS = "tests/worker"


def streams(
    python: object,
    databases: Sequence[str],
    extra: Sequence[str] = (),
    *,
    scenarios: bool = True,
) -> Iterator[Step]:
    """On the first database everything, on the others what can differ; what takes longest first.

    Workers are apart: short streams leave no processor idle for long when the last one ends. Tests
    of workers wait for two thirds of their time, so that others run beside them. Tests marked
    `scenario` are left out where `scenarios` is false.
    `extra` are pytest's own arguments; with some, each database is one run.
    """
    first, *others = databases
    if extra:
        yield _stream(python, first, first, *extra)
        for database in others:
            yield _stream(python, database, database, "-m", "database", *extra)
        return
    which = "" if scenarios else " and not scenario"
    anywhere, here = ("-m", f"not database{which}"), ("-m", f"database{which}")
    yield _stream(python, "any database, workers", first, *anywhere, _WORKERS)
    yield _stream(python, "any database", first, *anywhere, f"--ignore={_WORKERS}")
    for database in (*others, first):
        yield _stream(python, database, database, *here, f"--ignore={_WORKERS}")
        yield _stream(python, f"{database}, workers", database, *here, _WORKERS)


def _stream(python: object, name: str, database: str, *arguments: str) -> Step:
    # Tests marked `wallclock` start, starve and kill real processes: one that a busy machine held
    # up for too long is run once more, and the run says so.
    command = [python, "-m", "pytest", "--rerun-show-tracebacks", "--durations=12"]
    if sys.stdout.isatty():
        command.append("--color=yes")
    # Without bytecode pytest would rewrite all tests in each stream, and each program that they
    # start would compile what it imports.
    env = {"DJQUEUE_TEST_DB": database, "PYTHONDONTWRITEBYTECODE": ""}
    return Step(name, [*command, *arguments], env)
