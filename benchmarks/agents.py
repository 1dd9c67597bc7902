"""The runner's end of a contestant: calls into its process, and its workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import sink
from benchmarks.agent import STORE
from benchmarks.sink import Sink

ROOT = Path(__file__).resolve().parent.parent


class AgentFailed(Exception):
    """A contestant's process answered with an error, or not at all."""


class Agent:
    """One contestant's process."""

    def __init__(self, python: Path, module: str, store: Mapping[str, Any], folder: Path) -> None:
        self.module = module
        self.store = store
        self.folder = folder
        self._python = python
        self._workers = 0
        self._log = folder / f"{module}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the contestant and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            end = self._log.read_text(errors="replace")[-2000:]
            raise AgentFailed(f"{self.module} ended during {method}():\n{end}")
        answer = json.loads(line)
        if "error" in answer:
            raise AgentFailed(f"{self.module}.{method}():\n{answer['error']}")
        return answer["value"]

    @contextlib.contextmanager
    def running(
        self, method: str = "work", settings: Mapping[str, Any] | None = None, **options: Any
    ) -> Iterator[Running]:
        """A worker of this contestant, or another program of its, while it is needed. `settings`
        are djqueue's, beside those of the project.
        """
        self._workers += 1
        place = self.folder / f"{self.module}-{self._workers}"
        target = Sink(place.with_suffix(".sink"))
        with place.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [*self._command(), method, json.dumps(options)],
                env={
                    **self._environment(),
                    sink.VARIABLE: str(target.path),
                    "BENCH_SETTINGS": json.dumps(settings or {}),
                },
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, target, place.with_suffix(".log"))
        finally:
            _stop(process)
            target.path.unlink()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _command(self) -> list[str]:
        return [str(self._python), "-m", "benchmarks.agent", self.module]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), STORE: json.dumps(self.store)}


class Running:
    """A worker that runs."""

    def __init__(self, process: subprocess.Popen[bytes], target: Sink, log: Path) -> None:
        self.process = process
        self.sink = target
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, count: int, patience: float) -> bool:
        """Wait until `count` jobs have begun; False if they have not after `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.sink.count() < count:
            if self.process.poll() is not None:
                end = self.log.read_text(errors="replace")[-2000:]
                raise AgentFailed(f"A worker ended by itself:\n{end}")
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
