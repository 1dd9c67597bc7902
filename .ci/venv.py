"""Make a virtual environment with djqueue in it, or do nothing when it is there and up to date.

    python .ci/venv.py .venv --extras test,mysql --django 5.2

Two of these may run at once on one checkout: the second waits for the first and finds its work
done. It is run by the interpreter the environment is for, and needs nothing but that.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extras", default="")
    parser.add_argument("--django", default="", help="a release, as 5.2; the newest when missing")
    arguments = parser.parse_args()
    if sys.version_info < OLDEST:
        print(f"djqueue needs Python 3.10 or newer, and {sys.executable} is older. Set PYTHON=.")
        return 1
    extras = [extra for extra in arguments.extras.split(",") if extra]
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        return prepare(folder, extras, arguments.django)


def prepare(folder: Path, extras: list[str], django: str) -> int:
    stamp = folder / f".djqueue-{'-'.join(extras) or 'plain'}"
    wanted = fingerprint(extras, django)
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    print(f"Preparing {folder.name} (Python {sys.version.split()[0]}) ...", flush=True)
    make_environment(folder)
    requirements = expand(extras)
    if django:
        requirements.append(f"Django~={django}.0")
    code = install_requirements(folder, requirements) or install_djqueue(folder)
    if code == 0:
        stamp.write_text(wanted)
    return code


def fingerprint(extras: list[str], django: str) -> str:
    """Return a text that changes when the environment has to."""
    parts = [sys.version, str(ROOT), django, *extras, (ROOT / "setup.cfg").read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_environment(folder: Path) -> None:
    python = folder / "bin" / "python"
    ours = any(folder.glob(".djqueue-*"))
    if python.exists() and (version_of(python) == sys.version_info[:2] or not ours):
        # Tools such as uv make environments without pip.
        if subprocess.run(
            [python, "-m", "pip", "--version"], capture_output=True, check=False
        ).returncode:
            subprocess.run([python, "-m", "ensurepip", "--default-pip"], check=True)
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)


def version_of(python: Path) -> tuple[int, ...]:
    script = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split()))


def expand(extras: list[str]) -> list[str]:
    """Return the requirements of djqueue and these extras; an extra may name others."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    table = parser["options.extras_require"]
    found = parser["options"]["install_requires"].split("\n")
    pending, seen = list(extras), set()
    while pending:
        extra = pending.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in table[extra].split("\n"):
            named = re.fullmatch(r"djqueue\[(.+)\]", line.strip())
            if named:
                pending += named[1].split(",")
            else:
                found.append(line)
    return list(dict.fromkeys(line.strip() for line in found if line.strip()))


def install_requirements(folder: Path, requirements: list[str]) -> int:
    code = pip(folder, *requirements)
    without = [each for each in requirements if not each.startswith("mysqlclient")]
    if code and without != requirements:
        # It has to be compiled, and the tests can do with PyMySQL.
        print("mysqlclient cannot be installed here; going on without it.", flush=True)
        return pip(folder, *without)
    return code


def install_djqueue(folder: Path) -> int:
    # It writes djqueue.egg-info into the checkout, whichever environment it is for.
    with locked(ROOT / "setup.cfg"):
        return pip(folder, "--no-deps", "--editable", str(ROOT))


def pip(folder: Path, *arguments: str) -> int:
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *arguments]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(command, env=environment, check=False).returncode


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file or folder that exists; it ends with this process at the latest."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    raise SystemExit(main())
