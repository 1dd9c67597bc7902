"""What a database session itself says of the transaction it is in.

A connection that stays open after a job (``CONN_MAX_AGE``) is used by the next one. Most client
libraries know without asking the server; mysqlclient does not, and costs a round trip.
"""

from __future__ import annotations

import enum
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


class Left(enum.Enum):
    """What is left on a connection."""

    NOTHING = "nothing"
    OPEN = "a transaction"
    BROKEN = "a session that cannot be used"


_IDLE, _BROKEN = 0, 4
"""libpq's transaction status. In between: active, in a transaction, in one that has failed."""
_IN_TRANSACTION = 1
"""MySQL's SERVER_STATUS_IN_TRANS."""


def left_on(connection: BaseDatabaseWrapper) -> Left:
    """Return what a job has left on an open `connection` that Django takes for idle."""
    raw: Any = connection.connection
    ask = _ASK.get(connection.vendor)
    try:
        return Left.NOTHING if ask is None else ask(connection, raw)
    except Exception:  # noqa: BLE001 - whatever a client library raises for a session that is gone
        return Left.BROKEN


def _postgresql(connection: BaseDatabaseWrapper, raw: Any) -> Left:
    if raw.closed:
        return Left.BROKEN
    if hasattr(raw, "pgconn"):  # psycopg 3
        status = int(raw.pgconn.transaction_status)
    else:
        status = int(raw.get_transaction_status())
    if status == _IDLE:
        return Left.NOTHING
    return Left.BROKEN if status == _BROKEN else Left.OPEN


def _sqlite(connection: BaseDatabaseWrapper, raw: Any) -> Left:
    return Left.OPEN if raw.in_transaction else Left.NOTHING


def _mysql(connection: BaseDatabaseWrapper, raw: Any) -> Left:
    status = getattr(raw, "server_status", None)  # PyMySQL
    if status is not None:
        if not raw.open:
            return Left.BROKEN
        return Left.OPEN if status & _IN_TRANSACTION else Left.NOTHING
    known: Any = connection
    if not known.mysql_is_mariadb:
        raw.rollback()  # MySQL does not say whether one is open
        return Left.NOTHING
    raw.query("SELECT @@in_transaction")
    ((open_,),) = raw.store_result().fetch_row(0)
    return Left.OPEN if int(open_) else Left.NOTHING


_ASK: dict[str, Any] = {"postgresql": _postgresql, "sqlite": _sqlite, "mysql": _mysql}
