"""The databases of the test run, as settings see them."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.services import MariaDB, PostgreSQL
from tests.services.server import HOST, free_port

VENDORS = ("sqlite", "postgresql", "mariadb")
# `queue` is for a queue database of its own, `other` for one that has nothing to do with jobs.
ALIASES = ("default", "queue", "other")


def vendor() -> str:
    """Return the database under test: DJQUEUE_TEST_DB, SQLite when it is unset."""
    name = os.environ.get("DJQUEUE_TEST_DB", "sqlite")
    if name not in VENDORS:
        raise SystemExit(f"DJQUEUE_TEST_DB={name}: it must be one of {', '.join(VENDORS)}.")
    return name


def port() -> int:
    """Return the port of the database under test, the same in every process of this run."""
    return int(os.environ.setdefault("DJQUEUE_TEST_PORT", str(free_port())))


def folder() -> Path:
    """Return the folder of SQLite's files, the same in every process of this run.

    conftest makes it and removes it: importing the settings must leave nothing behind.
    """
    place = Path(tempfile.gettempdir()) / f"djqueue-tests-{os.getpid()}"
    return Path(os.environ.setdefault("DJQUEUE_TEST_FOLDER", str(place)))


def databases() -> dict[str, dict[str, Any]]:
    """Return `DATABASES`; a file for each on SQLite, because workers are other processes."""
    return {alias: _database(vendor(), alias) for alias in ALIASES}


def server() -> PostgreSQL | MariaDB | None:
    """Return the server behind `databases`, not started; None for SQLite."""
    servers = {"postgresql": PostgreSQL, "mariadb": MariaDB}
    return servers[vendor()](fsync=False, port=port()) if vendor() in servers else None


def _database(vendor: str, alias: str) -> dict[str, Any]:
    if vendor == "sqlite":
        name = str(folder() / f"{alias}.sqlite3")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "TEST": {"NAME": name}}
    if vendor == "postgresql":
        engine, user, password = "tests.postgresql", PostgreSQL.user, PostgreSQL.password
    else:
        use_pymysql_for_mysqlclient()
        engine, user, password = "django.db.backends.mysql", MariaDB.user, MariaDB.password
    return {
        "ENGINE": engine,
        # The database to connect to while test databases are made; MariaDB needs none.
        "NAME": "postgres" if vendor == "postgresql" else alias,
        "USER": user,
        "PASSWORD": password,
        "HOST": HOST,
        "PORT": port(),
        "TEST": {"NAME": f"test_{alias}"},
    }


def use_pymysql_for_mysqlclient() -> None:
    """Let PyMySQL stand in where mysqlclient could not be built."""
    try:
        importlib.import_module("MySQLdb")
    except ImportError:
        pymysql: Any = importlib.import_module("pymysql")
        # Django asks for the version of the package that PyMySQL pretends to be.
        pymysql.version_info = (2, 2, 8, "final", 0)
        pymysql.__version__ = "2.2.8"
        pymysql.install_as_MySQLdb()
