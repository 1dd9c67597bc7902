"""Where the servers' programs are, and how to get them."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

# Debian puts servers where an ordinary user's PATH does not look.
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/bin", "/usr/local/bin")
_OTHER_NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome")}


class MissingProgram(Exception):
    """A server's program is not on this machine; the text is one line that says how to get it."""


@dataclass(frozen=True)
class Requirement:
    """A program (or Python module) that a service needs, and what has it."""

    service: str
    programs: tuple[str, ...]
    packages: tuple[str, ...] = ()
    module: str | None = None
    file: str = ""
    how: str = ""
    # What the tests can do without, so that even CI goes on when it is missing.
    is_optional: bool = False

    def missing(self) -> list[str]:
        if self.file:
            return [] if Path(self.file).exists() else [self.file]
        if self.module is not None:
            return [] if importlib.util.find_spec(self.module) else [self.module]
        return [program for program in self.programs if find(program) is None]

    def explain(self) -> str:
        kind = "file" if self.file else "module" if self.module else "program"
        names = " and ".join(f"`{name}`" for name in self.missing() or self.programs)
        plural = "s" if " and " in names else ""
        how = self.how or f"apt-get install {' '.join(self.packages)}"
        outcome = "not built" if self.is_optional else "skipped"
        return f"{self.service}: {outcome}: no {names} {kind}{plural} found. Install it with: {how}"


POSTGRESQL = Requirement("PostgreSQL", ("postgres", "initdb"), ("postgresql",))
PSQL = Requirement("psql", ("psql",), ("postgresql-client",))
MARIADB = Requirement("MariaDB", ("mariadbd", "mariadb-install-db"), ("mariadb-server",))
REDIS = Requirement("Redis", ("redis-server", "redis-cli"), ("redis-server",))
BEANSTALKD = Requirement("beanstalkd", ("beanstalkd",), ("beanstalkd",))
PGBOUNCER = Requirement("PgBouncer", ("pgbouncer",), ("pgbouncer",))
MOTO = Requirement("SQS", (), module="moto", how='pip install -e ".[test]"')
CHROMIUM = Requirement("browser", ("chromium",), ("chromium",))
# Not servers: what reads the catalogues of the admin's languages, what building mysqlclient needs,
# and the certificate of PostgreSQL's TLS option.
GETTEXT = Requirement("translations", ("xgettext", "msgmerge", "msgfmt"), ("gettext",))
OPENSSL = Requirement("TLS", ("openssl",), ("openssl",))
COMPILER = Requirement(
    "mysqlclient", ("gcc", "pkg-config"), ("build-essential", "pkg-config"), is_optional=True
)
MARIADB_CLIENT = Requirement(
    "mysqlclient", ("mariadb_config",), ("libmariadb-dev",), is_optional=True
)
# Debian splits these two off its own Python; others have them.
PYTHON_HEADERS = Requirement(
    "mysqlclient",
    (),
    ("python3-dev",),
    file=str(Path(sysconfig.get_path("include")) / "Python.h"),
    is_optional=True,
)
PYTHON_VENV = Requirement("virtual environments", (), ("python3-venv",), module="ensurepip")

REQUIREMENTS = (
    POSTGRESQL,
    PSQL,
    MARIADB,
    REDIS,
    BEANSTALKD,
    PGBOUNCER,
    CHROMIUM,
    GETTEXT,
    OPENSSL,
    COMPILER,
    MARIADB_CLIENT,
    *((PYTHON_HEADERS, PYTHON_VENV) if sys.prefix == "/usr" else ()),
)


def find(program: str) -> Path | None:
    """Return the newest place of a program, or None."""
    for name in _OTHER_NAMES.get(program, (program,)):
        found = shutil.which(name)
        if found:
            return Path(found)
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: float(folder.parent.name) if folder.parent.name.isdigit() else 0.0,
        reverse=True,
    )
    for folder in (*versions, *map(Path, _SYSTEM_FOLDERS)):
        if os.access(folder / program, os.X_OK):
            return folder / program
    return None


def require(requirement: Requirement, program: str | None = None) -> Path:
    """Return the place of a program, or raise `MissingProgram` with the one line to show."""
    place = Path(sys.executable) if requirement.module else find(program or requirement.programs[0])
    if place is None or requirement.missing():
        raise MissingProgram(requirement.explain())
    return place


def install() -> list[Requirement]:
    """Install with apt-get what is missing, when this is root; return what still is missing."""
    if _missing() and shutil.which("apt-get") and os.geteuid() == 0:
        with Path(__file__).open() as lock:
            # Two runs on one machine: the second waits, and finds everything there.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _apt_get([package for each in _missing() for package in each.packages])
    return _missing()


def _missing() -> list[Requirement]:
    return [requirement for requirement in REQUIREMENTS if requirement.missing()]


def _apt_get(packages: list[str]) -> None:
    if not packages:
        return
    _run_apt("update")
    for package in dict.fromkeys(packages):
        # One at a time, so that a package this system does not have costs no other.
        print(f"Installing {package} ...", file=sys.stderr, flush=True)
        _run_apt("install", "--yes", "--no-install-recommends", package)


def _run_apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
        # RUNLEVEL keeps packages from starting a server of the system's own where it can.
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(f"apt-get {' '.join(arguments)} failed:\n{done.stdout}", file=sys.stderr)
