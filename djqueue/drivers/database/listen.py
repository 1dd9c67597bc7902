"""LISTEN and NOTIFY: how a push on PostgreSQL wakes an idle worker.

A hint only. A pooler in transaction mode accepts LISTEN and never delivers anything, so a worker
first sends itself a notification; without an echo it polls.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Wakeup

if TYPE_CHECKING:
    from djqueue.drivers.database.dialect import Dialect

CHANNEL = "djqueue"
_ECHO_SECONDS = 1.0


class ListenWakeup(Wakeup):
    """The worker's own connection, which listens beside everything else it does."""

    def __init__(self, dialect: Dialect, queues: frozenset[str], worker: int) -> None:
        self._dialect = dialect
        self._worker = worker
        self._raw = _raw(dialect)
        self._heard = False
        # One that arrives while a statement runs is read by the client, and told here.
        self._raw.add_notify_handler(self._hear)

    def _hear(self, notification: Any) -> None:
        self._heard = True

    def fileno(self) -> int | None:
        raw = self._raw
        return None if raw.closed else int(raw.fileno())

    def arrived(self) -> bool:
        heard, self._heard = self._heard, False
        return bool(receive(self._raw)) or heard

    def set_idle(self, idle: bool) -> None:
        self._dialect.run(
            "UPDATE djqueue_workers SET idle = %s WHERE id = %s", [idle, self._worker]
        )

    def close(self) -> None:
        if not self._raw.closed:
            self._dialect.run(f"UNLISTEN {CHANNEL}")


def can_listen(dialect: Dialect) -> bool:
    """Listen, and find out whether notifications arrive here at all."""
    raw = _raw(dialect)
    if not hasattr(raw, "pgconn"):  # psycopg2, which Django supports still
        return False
    dialect.run(f"LISTEN {CHANNEL}")
    dialect.rows("SELECT pg_notify(%s, 'echo')", [CHANNEL])
    deadline = time.monotonic() + _ECHO_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if receive(raw):
            return True
        select.select([raw.fileno()], [], [], left)
    return False


def receive(raw: Any) -> list[str]:
    """The payloads of all notifications that have arrived. Never blocks."""
    raw.pgconn.consume_input()
    payloads = []
    while notification := raw.pgconn.notifies():
        payloads.append(notification.extra.decode())
    return payloads


def _raw(dialect: Dialect) -> Any:
    dialect.connection.ensure_connection()
    return dialect.connection.connection
