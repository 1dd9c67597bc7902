"""Where Python interpreters are: on PATH, with pyenv, or fetched by uv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def find(version: str) -> str | None:
    """Return an interpreter of a version (as 3.12) that is on this machine."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = Path.home() / ".pyenv" / "versions"
    candidates += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    return next((path for path in candidates if path and works(path, version)), None)


def fetch(version: str) -> str | None:
    """Return one that uv has, or can get; None where that does not work either."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "uv"]
    uv = [sys.executable, "-m", "uv"]
    if subprocess.run([*uv, "--version"], capture_output=True, check=False).returncode:
        subprocess.run(pip, capture_output=True, check=False)
    subprocess.run([*uv, "python", "install", version], capture_output=True, check=False)
    done = subprocess.run(
        [*uv, "python", "find", version], capture_output=True, text=True, check=False
    )
    path = done.stdout.strip()
    return path if done.returncode == 0 and works(path, version) else None


def works(path: str, version: str) -> bool:
    """Whether it starts and is that version: pyenv's shims are there for versions that are not."""
    script = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout.strip() == version
