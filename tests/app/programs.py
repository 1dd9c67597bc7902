"""Jobs that start programs, and end in many ways or not at all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from djqueue import job
from tests.ledger import write


def _start_programs() -> None:
    """One in this process's group, one in a session of its own, one that is nobody's child."""
    for new_session in (False, True):
        program = subprocess.Popen(["sleep", "60"], start_new_session=new_session)
        write("program", program.pid)
    shell = subprocess.run(
        ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"],
        start_new_session=True,
        capture_output=True,
        check=True,
    )
    write("program", int(shell.stdout))


@job(name="app.starts_programs", tries=20)
def starts_programs(seconds: float = 60.0) -> None:
    """Start programs, and go on for so long, whatever is raised here."""
    _start_programs()
    write("begin", os.getpid())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)


@job(name="app.starts_programs_and_times_out", tries=20, timeout=0.5)
def starts_programs_and_times_out() -> None:
    """End by its soft timeout."""
    _start_programs()
    write("begin", os.getpid())
    time.sleep(60)


@job(name="app.leaves_a_program")
def leaves_a_program() -> None:
    """Return, and leave a program behind."""
    program = subprocess.Popen(["sleep", "60"])
    write("program", program.pid)
    write("begin", os.getpid())
    write("end", os.getpid())
