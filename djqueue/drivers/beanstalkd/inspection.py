"""What operators ask of beanstalkd: counting and clearing. It shows the next job of a tube only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

from djqueue.drivers.base import QueueCounts
from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client, Reply

_COUNTS = ("current-jobs-ready", "current-jobs-delayed", "current-jobs-reserved")
FORGET_AT = 200


def counts(connection: Client, tube: str) -> QueueCounts:
    """How many jobs a tube holds, and when the next one to run was put."""
    stats, head = connection.ask([client.stats_tube(tube), client.PEEK_READY], use=tube)
    known = stats.pairs()
    waiting, delayed, reserved = (int(known.get(name, 0)) for name in _COUNTS)
    oldest = _put_at(connection, head) if waiting and head.word == "FOUND" else None
    return QueueCounts(waiting, delayed, reserved, oldest)


def _put_at(connection: Client, head: Reply) -> datetime | None:
    (reply,) = connection.ask([client.stats_job(head.number)])
    age = reply.pairs().get("age")
    return None if age is None else datetime.now(timezone.utc) - timedelta(seconds=int(age))


def tubes_with_jobs(connection: Client) -> list[str]:
    """Names of the tubes that hold something."""
    (listed,) = connection.ask([client.LIST_TUBES])
    tubes = listed.items()
    replies = connection.ask([client.stats_tube(tube) for tube in tubes])
    return [tube for tube, reply in zip(tubes, replies, strict=True) if _holds_any(reply)]


def _holds_any(reply: Reply) -> bool:
    known = reply.pairs()
    return any(int(known.get(name, 0)) for name in _COUNTS)


def make_due(connection: Client, tube: str) -> int:
    """Let every delayed job wait in its tube; how many. Buried ones come first, all alike."""
    moved = 0
    while True:
        kicked, stats = connection.ask([client.KICK, client.stats_tube(tube)], use=tube)
        moved += kicked.number
        if not kicked.number or not int(stats.pairs().get("current-jobs-delayed", 0)):
            return moved


def clear(connection: Client, tube: str, forget: Callable[[Sequence[str]], None]) -> int:
    """Delete what waits or is delayed; `forget` is told the ids. How many there were."""
    return sum(
        _clear(connection, tube, peek, forget) for peek in (client.PEEK_READY, client.PEEK_DELAYED)
    )


def _clear(
    connection: Client, tube: str, peek: bytes, forget: Callable[[Sequence[str]], None]
) -> int:
    """One at a time, since only the next one can be seen. What a worker has reserved meanwhile
    is not found, and spared.
    """
    removed = 0
    ids: list[str] = []
    (head,) = connection.ask([peek], use=tube)
    while head.word == "FOUND":
        deleted, following = connection.ask([client.delete(head.number), peek])
        if deleted.word == "DELETED":
            removed += 1
            ids.append(message.decode(head.data, tube, head.number).id)
        if len(ids) == FORGET_AT:
            forget(ids)
            ids = []
        head = following
    if ids:
        forget(ids)
    return removed
