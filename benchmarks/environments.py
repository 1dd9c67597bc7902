"""Virtual environments of the other queues, made when they are first needed.

They stay in a folder beside the checkout's own, which git ignores.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agents import ROOT

FOLDER = ROOT / ".venv-bench"


class Absent(Exception):
    """A contestant cannot take part here; the text says why."""


@dataclass(frozen=True)
class Environment:
    """What has to be installed for a contestant."""

    name: str
    requirements: tuple[str, ...]
    python: tuple[int, int] = (3, 10)
    """The oldest Python it runs on."""

    def prepare(self) -> Path:
        """Return the interpreter of the environment, made now if it is not there."""
        folder = FOLDER / self.name
        stamp = folder / ".requirements"
        wanted = "\n".join(self.requirements)
        python = folder / "bin" / "python"
        if python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return python
        print(f"Preparing {self.name} ...", file=sys.stderr, flush=True)
        if not python.exists():
            _run(str(interpreter(self.python)), "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", *self.requirements)
        stamp.write_text(wanted)
        return python


def interpreter_of(environment: Environment | None) -> Path:
    """Return the interpreter of an environment; None is the one that runs this."""
    return environment.prepare() if environment else Path(sys.executable)


@functools.lru_cache
def interpreter(oldest: tuple[int, int]) -> Path:
    """Return an interpreter that is new enough, this one if it is."""
    if sys.version_info[:2] >= oldest:
        return Path(getattr(sys, "_base_executable", sys.executable))
    for place in _on_path(oldest):
        script = f"import sys; sys.exit(sys.version_info[:2] < {oldest})"
        if not subprocess.run([place, "-c", script], capture_output=True, check=False).returncode:
            return Path(place)
    raise Absent(f"it needs Python {oldest[0]}.{oldest[1]} or newer, and there is none here")


def _on_path(oldest: tuple[int, int]) -> Iterator[str]:
    for minor in range(oldest[1] + 3, oldest[1] - 1, -1):
        if place := shutil.which(f"python3.{minor}"):
            yield place


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        raise Absent(f"it could not be installed: {lines[-1]}")
