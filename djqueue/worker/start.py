"""Starting a child: by fork, or by exec where a fork of a used process is not safe."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from djqueue.running.rules import Rules
from djqueue.worker.child import Assignment, main
from djqueue.worker.wire import PAGE_SIZE

EXEC = "DJQUEUE_START_BY_EXEC"
"""Environment variable that makes Linux start children as macOS does."""


@dataclass
class Ends:
    """The parent's ends of one child's channels."""

    work: socket.socket
    tokens: int
    tokens_back: int
    """The reading end, to take back what was not begun."""
    outcomes: int
    page: int
    dump: int
    closed: bool = False

    def close(self) -> None:
        """Close them all, once."""
        if not self.closed:
            self.closed = True
            self.work.close()
            for descriptor in (self.tokens, self.tokens_back, self.outcomes, self.page, self.dump):
                os.close(descriptor)


class Team(NamedTuple):
    """What all children of a worker have in common."""

    connection: str
    worker: str
    queues: tuple[str, ...]
    rules: Rules
    memory: int


def by_exec() -> bool:
    """Whether to: the frameworks of macOS crash in a forked child that uses them."""
    return sys.platform == "darwin" or bool(os.environ.get(EXEC))


def start(team: Team, life: tuple[int, int], in_child: Callable[[], None]) -> tuple[int, Ends]:
    """Start a child; its process id and our ends.

    `in_child` runs first in a forked child and makes inherited connections harmless. `life` is a
    pipe whose writing end only the parent has.
    """
    ours, theirs = socket.socketpair()
    tokens_read, tokens = os.pipe()
    outcomes, outcomes_write = os.pipe()
    os.set_blocking(tokens, False)
    os.set_blocking(tokens_read, False)  # for the child too: it is one open pipe end
    page, dump = _scratch(PAGE_SIZE), _scratch(0)
    ends = Ends(ours, tokens, tokens_read, outcomes, page, dump)
    assignment = Assignment(
        *team,
        work=theirs.fileno(),
        tokens=tokens_read,
        outcomes=outcomes_write,
        page=page,
        dump=dump,
        life=life[0],
        parent=os.getpid(),
    )
    pid = _exec(assignment) if by_exec() else _fork(assignment, ends, life[1], in_child)
    theirs.close()
    os.close(outcomes_write)
    ours.setblocking(False)
    os.set_blocking(outcomes, False)
    return pid, ends


def _fork(assignment: Assignment, ends: Ends, life: int, in_child: Callable[[], None]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    _settle_memory()
    pid = os.fork()
    if not pid:
        _run_forked(assignment, ends, life, in_child)
    return pid


def _settle_memory() -> None:
    """Keep as many pages as possible shared with the child.

    What imports have left free goes back to the system first: parent and child would each fill
    pages of their own with it. Then the child's collector is to leave our objects alone.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()


def _run_forked(
    assignment: Assignment, ends: Ends, life: int, in_child: Callable[[], None]
) -> NoReturn:
    try:
        in_child()
        ends.work.close()
        for descriptor in (ends.tokens, ends.outcomes, life):
            os.close(descriptor)
        main(assignment)
    finally:
        os._exit(1)


def _exec(assignment: Assignment) -> int:
    descriptors = [
        getattr(assignment, name) for name in ("work", "tokens", "outcomes", "page", "dump", "life")
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "djqueue.worker.start", json.dumps(assignment.to_dict())],
        pass_fds=descriptors,
        start_new_session=False,
    )
    process.returncode = 0  # we wait for it ourselves
    return process.pid


def _scratch(size: int) -> int:
    """A file without a name, shared with a child."""
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return os.dup(file.fileno())


if __name__ == "__main__":
    import django

    django.setup()
    main(Assignment.from_dict(json.loads(sys.argv[1])))
