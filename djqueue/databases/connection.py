"""A worker's own database connection: kept for life, tuned, and put in Django's place.

Jobs run in other processes with Django's ordinary connections. In the worker's parent process the
alias's connection is replaced by one on which every call has an end, without a pool (a pool has
threads, which no fork survives), and, on SQLite, with immediate transactions and
``synchronous=NORMAL``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from djqueue.databases.bound import SERVER_SHARE, Bound, bind
from djqueue.databases.errors import is_refusal
from djqueue.errors import QueueUnavailable

BUSY_SECONDS = 1.0
"""How long the parent waits for SQLite's lock before it does something else and comes back."""
PATIENCE = 2.5
"""Seconds that a call may wait unless set otherwise: an eighth of the usual lease."""


class BoundConnection(BaseDatabaseWrapper):
    """Mixed into the wrapper of a vendor. Every call on it has an end: see `within`."""

    _limited_to = math.inf
    """The limit that the session and the client library know."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bound = Bound(PATIENCE)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Everything in this block has `seconds` together, outside of another such block."""
        if not self.begin(seconds):
            yield
            return
        try:
            yield
        finally:
            self.bound.end()

    def begin(self, seconds: float) -> bool:
        """As `within`, ended by ``bound.end()`` if this says True."""
        if not self.bound.begin(seconds):
            return False
        if getattr(self.connection, "closed", False) and not self.in_atomic_block:
            self.close()  # an earlier call has given it up: this one opens another
        if seconds < self._limited_to and self.connection is not None and not self.in_atomic_block:
            self.tell()
        return True

    def connect(self) -> None:
        """Not for a call that has had its time: the end of a transaction would open another one."""
        if self.bound.is_over:
            raise OperationalError("no time is left to connect again")
        super().connect()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect within the limits of the call."""
        raw = super().get_new_connection({**conn_params, **self.limits(conn_params)})
        self._limited_to = self.bound.seconds
        bind(raw, self.bound)
        return raw

    def limits(self, conn_params: dict[str, Any]) -> dict[str, Any]:
        """The parameters with which the client library connects."""
        return {}

    def tell(self) -> None:
        """The limit is lower than when the session was opened."""
        self.close()


class _Postgresql(BoundConnection):
    def limits(self, conn_params: dict[str, Any]) -> dict[str, Any]:
        seconds = self.bound.seconds
        wanted = {
            "connect_timeout": max(math.ceil(seconds), 2),  # libpq takes no less
            "tcp_user_timeout": math.ceil(seconds * 1000),
            "keepalives_idle": max(math.ceil(seconds), 1),
            "keepalives_interval": max(math.ceil(seconds / 2), 1),
            "keepalives_count": 2,
        }
        return {key: _lower(conn_params.get(key), value) for key, value in wanted.items()}

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.tell()

    def tell(self) -> None:
        """The session's own limits, in one statement, and only if the session is ours alone: behind
        a pooler it has another process number than the one that we were greeted with, and what is
        set there holds for strangers.
        """
        self._limited_to = self.bound.seconds
        raw = cast("Any", self.connection)
        pid = raw.pgconn.backend_pid if hasattr(raw, "pgconn") else raw.get_backend_pid()
        limit = max(int(self.bound.seconds * SERVER_SHARE * 1000), 1)
        with self.cursor() as cursor:
            cursor.execute(_LIMIT_SESSION, [str(limit), pid, limit, pid])
            self.bound.server_ends = bool(cursor.fetchone()[0])


_LIMIT_SESSION = (
    "WITH limits AS MATERIALIZED (SELECT set_config(name, %s, false) FROM pg_settings"
    " WHERE name IN ('statement_timeout', 'lock_timeout') AND pg_backend_pid() = %s"
    " AND (setting = '0' OR setting::bigint > %s))"
    " SELECT pg_backend_pid() = %s, (SELECT count(*) FROM limits)"
)


class _Mysql(BoundConnection):
    def limits(self, conn_params: dict[str, Any]) -> dict[str, Any]:
        """In whole seconds, which is all that the client library knows."""
        seconds = max(int(self.bound.seconds), 1)
        names = ("connect_timeout", "read_timeout", "write_timeout")
        return {name: _lower(conn_params.get(name), seconds) for name in names}

    def init_connection_state(self) -> None:
        super().init_connection_state()
        lock = max(int(self.bound.seconds * SERVER_SHARE), 1)
        limits = [f"innodb_lock_wait_timeout = {lock}", f"lock_wait_timeout = {lock}"]
        if cast("Any", self).mysql_is_mariadb:
            limits.append(f"max_statement_time = {self.bound.seconds * SERVER_SHARE:.3f}")
        else:
            limits.append(f"max_execution_time = {int(self.bound.seconds * SERVER_SHARE * 1000)}")
        with self.cursor() as cursor:
            cursor.execute(f"SET SESSION {', '.join(limits)}")


class _Sqlite(BoundConnection):
    def limits(self, conn_params: dict[str, Any]) -> dict[str, Any]:
        wanted = min(BUSY_SECONDS, self.bound.seconds)
        return {"timeout": min(conn_params.get("timeout", 5.0), wanted)}


_VENDORS: dict[str, type[BoundConnection]] = {
    "postgresql": _Postgresql,
    "mysql": _Mysql,
    "sqlite": _Sqlite,
}


def _lower(known: Any, wanted: int) -> int:
    """The project's own limit where that is lower; 0 is none."""
    value = int(float(known or 0))
    return min(value, wanted) if value > 0 else wanted


@lru_cache(maxsize=8)
def _class_for(engine: str) -> type[BoundConnection]:
    wrapper = load_backend(engine).DatabaseWrapper
    return type("DatabaseWrapper", (_VENDORS.get(wrapper.vendor, BoundConnection), wrapper), {})


def own_connection(alias: str, *, wal: bool = True, seconds: float = PATIENCE) -> BoundConnection:
    """Open the worker's connection to `alias` and make it Django's in this thread. Its calls have
    `seconds`, where `BoundConnection.within` does not say anything else.
    """
    _close(connections[alias])
    settings = connections.settings[alias]
    options = {key: value for key, value in settings["OPTIONS"].items() if key != "pool"}
    if settings["ENGINE"].endswith("sqlite3"):
        options["transaction_mode"] = "IMMEDIATE"
        options["init_command"] = _pragmas(
            options.get("init_command", ""), wal and _is_file(settings)
        )
    elif settings["ENGINE"].endswith("mysql"):
        # Locks on rows alone: those on the gaps between them make deadlocks.
        options["isolation_level"] = "read committed"
    own = {**settings, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
    wrapper = _class_for(settings["ENGINE"])(own, alias)
    wrapper.bound = Bound(seconds)
    connections[alias] = wrapper
    with wrapper.within(seconds):
        wrapper.ensure_connection()
    return wrapper


@contextmanager
def bounded(alias: str, seconds: float | None = None) -> Iterator[None]:
    """SQL of a worker's parent, in the words of Django, about anything but the jobs table: in this
    block it has `seconds` together, or `PATIENCE`.

    From the first time on the alias's connection is a worker's own. Where the database cannot be
    reached, does not answer in time or cannot do it now, this is `QueueUnavailable`, and the
    connection is given up, so that the next call opens another one. What it refuses for its content
    leaves as Django's error. Inside a transaction of the alias nothing is replaced or closed.
    """
    connection = connections[alias]
    try:
        if not isinstance(connection, BoundConnection) and not connection.in_atomic_block:
            connection = own_connection(alias, wal=False, seconds=seconds or PATIENCE)
        if isinstance(connection, BoundConnection):
            with connection.within(seconds or PATIENCE):
                yield
        else:
            yield
    except DatabaseError as error:
        if is_refusal(error):
            raise
        connection = connections[alias]
        if not connection.in_atomic_block:
            connection.close()
        raise QueueUnavailable(f'Database "{alias}" is unavailable: {error}') from error


def _close(connection: Any) -> None:
    """With its pool, if it has one: in a child, the pool would wait for threads of its parent."""
    connection.close()
    if getattr(connection, "pool", None) is not None:
        connection.close_pool()


def _is_file(settings: dict[str, Any]) -> bool:
    name = str(settings["NAME"])
    return ":memory:" not in name and "mode=memory" not in name


def _pragmas(existing: str, wal: bool) -> str:
    wanted = "PRAGMA synchronous=NORMAL"
    if wal:
        wanted = f"PRAGMA journal_mode=WAL; {wanted}"
    return f"{existing}; {wanted}" if existing else wanted
