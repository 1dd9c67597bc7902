"""LISTEN and NOTIFY: how a push on PostgreSQL wakes an idle worker.

A hint only. A pooler in transaction mode accepts LISTEN and delivers nothing, so a worker is first
sent a notification; without an echo it polls.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Wakeup

if TYPE_CHECKING:
    from djqueue.drivers.database.vendors.dialect import Dialect

CHANNEL = "djqueue"
_ECHO_SECONDS = 1.0


class ListenWakeup(Wakeup):
    """The worker's own connection, which listens beside everything else it does."""

    def __init__(self, dialect: Dialect, worker: int) -> None:
        self._dialect = dialect
        self._worker = worker
        dialect.connection.ensure_connection()
        self._raw: Any = dialect.connection.connection
        self._was_notified = False
        # What arrives together with the answer to a statement is passed to handlers only.
        self._raw.add_notify_handler(self._hear)
        dialect.run(f"LISTEN {CHANNEL}")

    def fileno(self) -> int | None:
        raw = self._raw
        return None if raw.closed else int(raw.fileno())

    def arrived(self) -> bool:
        with self._dialect.connection.wrap_database_errors:
            self._raw.pgconn.consume_input()
            while self._raw.pgconn.notifies():
                self._was_notified = True
        notified, self._was_notified = self._was_notified, False
        return notified

    def set_idle(self, idle: bool) -> None:
        self._dialect.run(
            "UPDATE djqueue_workers SET idle = %s WHERE id = %s", [idle, self._worker]
        )

    def close(self) -> None:
        if not self._raw.closed:
            self._raw.remove_notify_handler(self._hear)
            self._dialect.run(f"UNLISTEN {CHANNEL}")

    def receives_echo(self) -> bool | None:
        """Return whether notifications arrive here, so that this session is ours alone; None if
        that could not be tried.

        The echo is sent over another connection: what a session tells itself arrives with the
        answer, through any pooler. That connection's answer is not waited for, since a pooler may
        keep it waiting for the very session that listens.
        """
        connection: Any = self._dialect.connection
        try:
            other = connection.get_new_connection(connection.get_connection_params())
        except connection.Database.Error:
            return None  # no connection is left for us: polling needs none
        try:
            other.pgconn.send_query(f"NOTIFY {CHANNEL}, 'echo'".encode())
            bound = self._dialect.bound
            wait = min(_ECHO_SECONDS, bound.left()) if bound is not None else _ECHO_SECONDS
            deadline = time.monotonic() + wait
            poller = select.poll()
            poller.register(self._raw.fileno(), select.POLLIN)
            while not (notified := self.arrived()) and (left := deadline - time.monotonic()) > 0:
                poller.poll(left * 1000)
        finally:
            other.close()
        return notified

    def _hear(self, notification: object) -> None:
        self._was_notified = True
