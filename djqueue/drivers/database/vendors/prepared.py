"""Prepared statements of a session that is a worker's own, on psycopg's libpq connection.

psycopg's cursors wait for their answers. A worker has other things to do meanwhile.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

from djqueue.databases.bound import Bound, give_up


class Prepared:
    """The statements that one session has prepared."""

    def __init__(self, raw: Any, bound: Bound) -> None:
        self.raw = raw
        """psycopg's connection."""
        self._bound = bound
        self._names: dict[str, bytes] = {}

    def send(self, sql: str, params: Sequence[Any]) -> Sent:
        """Send a statement with ``%s`` for each of `params`; the first time it is prepared before.
        Raises psycopg's errors unchanged.
        """
        pgconn = self.raw.pgconn
        name = self._names.get(sql)
        if name is None:
            name = f"djqueue_{len(self._names)}".encode()
            first, *rest = sql.split("%s")
            text = first + "".join(f"${n}{part}" for n, part in enumerate(rest, 1))
            pgconn.send_prepare(name, text.encode())
            Sent(self.raw, self._bound).results()
            self._names[sql] = name
        pgconn.send_query_prepared(name, [str(param).encode() for param in params])
        return Sent(self.raw, self._bound)


class Sent:
    """A statement on its way. The connection takes no other one before its `rows` are read."""

    def __init__(self, raw: Any, bound: Bound) -> None:
        self._raw = raw
        self._bound = bound
        self._until = time.monotonic() + bound.left()
        self._descriptor = int(raw.pgconn.socket)
        while raw.pgconn.flush():
            if self._wait(select.POLLIN | select.POLLOUT) & ~select.POLLOUT:
                raw.pgconn.consume_input()

    def fileno(self) -> int:
        """Return the socket from which the answer comes."""
        return self._descriptor

    def is_there(self) -> bool:
        """Return whether `rows` does not wait. Raises psycopg's error if the time of the call has
        run out.
        """
        self._raw.pgconn.consume_input()
        if not self._raw.pgconn.is_busy():
            return True
        if time.monotonic() >= self._until:
            give_up(self._raw, self._bound)
        return False

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the whole answer."""
        return _rows(self._raw, self.results()[-1])

    def results(self) -> list[Any]:
        """Return the answer as libpq made it."""
        results = []
        while (result := self._next()) is not None:
            results.append(result)
        for result in results:
            _checked(self._raw, result)
        return results

    def _next(self) -> Any:
        while not self.is_there():
            self._wait(select.POLLIN)
        return self._raw.pgconn.get_result()

    def _wait(self, events: int) -> int:
        """Return the first of `events` that happens."""
        poller = select.poll()
        poller.register(self._descriptor, events)
        found = poller.poll(max(self._until - time.monotonic(), 0.0) * 1000)
        if not found:
            give_up(self._raw, self._bound)
        return int(found[0][1])


def _checked(raw: Any, result: Any) -> None:
    """Raise the server's error, if there is one."""
    from psycopg import errors, pq  # the vendor's client, needed here only

    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return
    error = errors.error_from_result(result, raw.info.encoding)
    # libpq's own, of a connection that broke, has no code that would say so.
    raise errors.OperationalError(str(error)) if raw.closed and not error.sqlstate else error


def _rows(raw: Any, result: Any) -> list[tuple[Any, ...]]:
    from psycopg.adapt import Transformer

    reader = Transformer.from_context(raw)
    reader.set_pgresult(result)
    return list(reader.load_rows(0, result.ntuples, tuple))
