"""What the fork server of the tests starts is what ``python -m django`` would start."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support import run_command

LOOK = """
import json, os, signal, sys, threading, warnings
print(json.dumps({
    "main": sys.modules["__main__"].__spec__.name,
    "arguments": sys.argv,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "path": sys.path,
    "flags": list(sys.flags),
    "warnings": [str(each) for each in warnings.filters],
    "files": sorted(os.listdir("/dev/fd")),
    "streams": [
        [each.encoding, each.errors, each.line_buffering, each.write_through, each.fileno()]
        for each in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "signals": [str(signal.getsignal(each)) for each in sorted(signal.valid_signals())],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "threads": threading.active_count(),
    "input": sys.stdin.read(),
}))
"""
# The fork server was started without it, so what has it is exec'ed.
BY_EXEC = {"PYTHONOTHER": "1"}


def test_a_command_is_the_same_by_fork_and_by_exec():
    forked, executed = (
        json.loads(
            run_command(
                "shell", "-c", LOOK, check=True, stdin="Zoë", A_VARIABLE="1", **more
            ).stdout.splitlines()[-1]
        )
        for more in ({}, BY_EXEC)
    )
    executed["environment"].pop("PYTHONOTHER")
    assert forked["environment"]["A_VARIABLE"] == "1"
    assert forked == executed


@pytest.mark.parametrize("how", [{}, BY_EXEC])
@pytest.mark.parametrize(
    ("end", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)],
)
def test_how_a_command_ends_is_known(end, code, how):
    assert run_command("shell", "-c", end, **how).returncode == code


def test_what_a_command_says_at_its_end_is_written():
    script = "import atexit; atexit.register(lambda: print('the end'))"
    assert run_command("shell", "-c", script).stdout.endswith("the end\n")
