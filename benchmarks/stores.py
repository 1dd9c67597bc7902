"""The stores that are measured: real servers with the settings they come with."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.services import Beanstalkd, MariaDB, PostgreSQL, Redis
from tests.services.server import Server


class Store:
    """A server, or a folder, with room for several contestants."""

    name: ClassVar[str]
    kind: ClassVar[type[Server] | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = self.kind() if self.kind else None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        if self.server is not None:
            self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    @property
    def pids(self) -> list[int]:
        """The server's processes."""
        return self.server.pids if self.server is not None else []

    def new(self) -> dict[str, Any]:
        """Room for one contestant: what it is told to find it."""
        return {"vendor": self.name, "folder": str(self.folder)}

    def remove(self, room: Mapping[str, Any]) -> None:
        """The contestant has left."""

    def _address(self) -> dict[str, Any]:
        assert self.server is not None
        return {"vendor": self.name, "host": self.server.host, "port": self.server.port}

    def version(self) -> str:
        return ""


class PostgreSQLStore(Store):
    """fsync on, nothing tuned. Each contestant has a database of its own."""

    name = "postgresql"
    kind = PostgreSQL

    def new(self) -> dict[str, Any]:
        assert isinstance(self.server, PostgreSQL)
        database = f"bench{next(self._numbers)}"
        self.server.psql(f"CREATE DATABASE {database}")
        return {**self._address(), "user": "postgres", "password": "", "name": database}

    def remove(self, room: Mapping[str, Any]) -> None:
        assert isinstance(self.server, PostgreSQL)
        self.server.psql(f"DROP DATABASE {room['name']} WITH (FORCE)")

    def version(self) -> str:
        assert isinstance(self.server, PostgreSQL)
        return f"PostgreSQL {self.server.psql('SHOW server_version').split()[0]}"


class MariaDBStore(Store):
    """Flushed at each commit, nothing tuned."""

    name = "mariadb"
    kind = MariaDB

    def new(self) -> dict[str, Any]:
        user, password = MariaDB.user, MariaDB.password
        name = f"bench{next(self._numbers)}"
        return {**self._address(), "user": user, "password": password, "name": name}

    def version(self) -> str:
        done = subprocess.run(
            [str(self.server.command()[0]), "--version"],  # type: ignore[union-attr]
            capture_output=True,
            text=True,
            check=False,
        )
        words = done.stdout.split()
        return f"MariaDB {words[words.index('Ver') + 1].split('-')[0]}" if "Ver" in words else ""


class SQLiteStore(Store):
    """One file a contestant, in WAL, on the disk that TMPDIR names."""

    name = "sqlite"

    def new(self) -> dict[str, Any]:
        name = str(self.folder / f"bench{next(self._numbers)}.sqlite3")
        return {"vendor": self.name, "name": name}

    def remove(self, room: Mapping[str, Any]) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(room["name"] + suffix).unlink(missing_ok=True)

    def version(self) -> str:
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"


class RedisStore(Store):
    """Nothing is written to disk. Each contestant has a database number of its own."""

    name = "redis"
    kind = Redis

    def new(self) -> dict[str, Any]:
        number = next(self._numbers)
        address = self._address()
        url = f"redis://{address['host']}:{address['port']}/{number}"
        sql = str(self.folder / f"redis{number}.sqlite3")
        return {**address, "number": number, "url": url, "name": sql}

    def version(self) -> str:
        assert isinstance(self.server, Redis)
        lines = self.server.cli("info", "server").splitlines()
        return "Redis " + next(x.split(":")[1] for x in lines if x.startswith("redis_version"))


class BeanstalkdStore(Store):
    """Without a binlog. One contestant at a time uses its tube."""

    name = "beanstalkd"
    kind = Beanstalkd

    def new(self) -> dict[str, Any]:
        return {**self._address(), "name": str(self.folder / f"b{next(self._numbers)}.sqlite3")}


STORES: dict[str, type[Store]] = {
    store.name: store
    for store in (PostgreSQLStore, SQLiteStore, MariaDBStore, RedisStore, BeanstalkdStore)
}
