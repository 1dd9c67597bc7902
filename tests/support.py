"""Helpers for tests that start other processes: commands, workers, and waiting for them."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, TypeVar

from django.conf import settings
from django.db import connections

from tests.forkserver import Forked, ForkServer, read_at_start
from tests.services.processes import descendants

T = TypeVar("T")
Process: TypeAlias = subprocess.Popen[bytes] | Forked

ROOT = Path(__file__).parent.parent
# What a test may override and its child processes then see too.
SHARED_SETTINGS = (
    "CACHES",
    "DATABASE_ROUTERS",
    "DEFAULT_FROM_EMAIL",
    "DJQUEUE",
    "EMAIL_BACKEND",
    "INSTALLED_APPS",
    "LANGUAGE_CODE",
    "LOGGING",
    "MAILERS",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "TASKS",
    "TIME_ZONE",
    "USE_TZ",
)


def environment(overrides: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the variables that bring a child process to this test's settings and databases.

    `overrides` are settings that differ there.
    """
    shared = {
        name: getattr(settings, name) for name in SHARED_SETTINGS if settings.is_overridden(name)
    }
    shared["DATABASES"] = {alias: _database(alias) for alias in connections}
    return {
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
        "DJQUEUE_TEST_SETTINGS": json.dumps({**shared, **(overrides or {})}),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
    }


def _database(alias: str) -> dict[str, Any]:
    # Django has put the test database's name into NAME by now.
    return {key: value for key, value in connections[alias].settings_dict.items() if key != "TEST"}


@cache
def _fork_server() -> ForkServer:
    server = ForkServer({**os.environ, **environment()})
    atexit.register(server.close)
    return server


class Streams(NamedTuple):
    """The standard streams of a process."""

    stdin: IO[Any]
    stdout: IO[Any]
    stderr: IO[Any]


def start(
    arguments: Sequence[object],
    env: Mapping[str, str],
    streams: Streams,
    prefix: Sequence[str] = (),
    before: Callable[[], None] | None = None,
) -> Process:
    """Start a management command in a session of its own: by fork, where that is no difference."""
    line = list(map(str, arguments))
    whole = {**os.environ, **env}
    if not prefix and before is None and read_at_start(whole) == _fork_server().fixed:
        return _fork_server().start(line, whole, [stream.fileno() for stream in streams])
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "django", *line],
        cwd=ROOT,
        env=whole,
        start_new_session=True,
        preexec_fn=before,  # noqa: PLW1509 - of the tests' threads nothing is needed
        **streams._asdict(),
    )


def run_command(
    *arguments: object,
    overrides: Mapping[str, Any] | None = None,
    stdin: str = "",
    check: bool = False,
    timeout: float = 60.0,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run a management command in a process of its own, in this test's databases.

    Its exit code, stdout and stderr are in the answer; `check` makes a failure an error with them.
    """
    with contextlib.ExitStack() as stack:
        streams = Streams(*(stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)))
        streams.stdin.write(stdin)
        streams.stdin.seek(0)
        process = start(arguments, {**environment(overrides), **env}, streams)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        streams.stdout.seek(0)
        streams.stderr.seek(0)
        texts = streams.stdout.read(), streams.stderr.read()
    done = subprocess.CompletedProcess(list(map(str, arguments)), code, *texts)
    if check and code:
        text = f"{done.stdout}\n{done.stderr}"
        raise AssertionError(f"{arguments[0]} ended with {code}:\n{text}")
    return done


class WorkerProcess:
    """A worker in a process of its own, with all that it printed."""

    def __init__(self, process: Process, output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """Process ids of everything the worker has started, nearest first."""
        return descendants(self.pid)

    @property
    def warden(self) -> int:
        """The process id of what starts and ends the children that run jobs."""
        return self.children[0]

    @property
    def runners(self) -> list[int]:
        """Process ids of the children that run jobs, and of what those have started."""
        return descendants(self.warden)

    @property
    def output(self) -> str:
        """What it has printed so far, to stdout and stderr."""
        return self._output.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end and return the exit code; an error with its output if it goes on."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            text = f"The worker still runs after {timeout} s. Its output:\n{self.output}"
            raise AssertionError(text) from None

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to stop in an orderly way, and wait for that."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill the parent alone, with SIGKILL; its children have to notice themselves."""
        self.process.kill()
        self.process.wait()

    def kill_everything(self) -> None:
        """Kill it and all its children at once."""
        everything = [self.pid, *self.children] if self.is_running else self.children
        for pid in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def start_worker(
    *arguments: object,
    overrides: Mapping[str, Any] | None = None,
    command: str = "queue_work",
    prefix: Sequence[str] = (),
    ignore: Sequence[int] = (),
    limits: Mapping[int, tuple[int, int]] | None = None,
    **env: str,
) -> Iterator[WorkerProcess]:
    """Start ``queue_work`` with these arguments; it is gone when the block ends, however it ends.

    Its output is shown when the block raises. `prefix` is a program that starts it. It ignores the
    signals in `ignore`, and has these `limits` of its resources.
    """
    with tempfile.TemporaryDirectory(prefix="djqueue-worker-") as folder:
        before = partial(_prepare, ignore, limits or {}) if ignore or limits else None
        given = {**environment(overrides), **env}
        output = Path(folder) / "output"
        with output.open("wb") as stream, Path(os.devnull).open("rb") as nothing:
            streams = Streams(nothing, stream, stream)
            process = start([command, *arguments], given, streams, prefix, before)
        worker = WorkerProcess(process, output)
        try:
            yield worker
        except BaseException:
            print(f"Output of {command} {arguments}:\n{worker.output}")
            raise
        finally:
            _end(worker)


def _prepare(ignore: Sequence[int], limits: Mapping[int, tuple[int, int]]) -> None:
    for number in ignore:
        signal.signal(number, signal.SIG_IGN)
    for limit, values in limits.items():
        resource.setrlimit(limit, values)


def _end(worker: WorkerProcess) -> None:
    """Stop a worker as an operator would; what is left a few seconds later is killed."""
    if worker.is_running:
        worker.send(signal.SIGCONT)
        worker.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(10)
    worker.kill_everything()


def wait_until(
    predicate: Callable[[], T], timeout: float = 20.0, what: str = "", every: float = 0.02
) -> T:
    """Ask until the answer is true, and return it; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout} s: {what or predicate}")
        time.sleep(every)
    return answer
