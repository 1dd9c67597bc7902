"""An append-only file in which jobs note what they do: one write a line, outside every store."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

VARIABLE = "DJQUEUE_TEST_LEDGER"


class Line(NamedTuple):
    """What one job did once."""

    what: str
    detail: str
    id: str
    attempt: int
    pid: int
    at: float


def write(what: str, detail: object = "") -> None:
    """Append a line about the job that runs here, if a ledger is kept."""
    from djqueue import current_job

    path = os.environ.get(VARIABLE)
    if path is None:
        return
    job = current_job()
    fields = (what, detail, job.id, job.attempt, os.getpid(), time.monotonic())
    line = "\t".join(str(field).replace("\t", " ") for field in fields) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Ledger:
    """The file, read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, what: str | None = None) -> list[Line]:
        text = self.path.read_text() if self.path.exists() else ""
        lines = [_line(line) for line in text.splitlines() if line.count("\t") == 5]
        return [line for line in lines if what in (None, line.what)]

    def details(self, what: str) -> list[str]:
        return [line.detail for line in self.lines(what)]

    def count(self, what: str) -> Counter[str]:
        """How often each job did it, by id."""
        return Counter(line.id for line in self.lines(what))


@contextmanager
def kept() -> Iterator[Ledger]:
    """Keep a ledger in this block, in this process and those that it starts."""
    with TemporaryDirectory(prefix="djqueue-ledger-") as folder:
        path = Path(folder) / "ledger"
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(path)
        try:
            yield Ledger(path)
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


def _line(text: str) -> Line:
    what, detail, id, attempt, pid, at = text.split("\t")
    return Line(what, detail, id, int(attempt), int(pid), float(at))
