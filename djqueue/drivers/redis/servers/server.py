"""Whether a server may be trusted with jobs. Asked when a worker starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis import exceptions

from djqueue.errors import ConfigurationError, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.redis.servers.connection import ServerConnection
    from djqueue.drivers.redis.servers.store import Store

OLDEST = (6, 2)
NO_EVICTION = "noeviction"


def refuse_unfit(store: Store, settings: ConnectionSettings) -> None:
    """Raise `ConfigurationError` for a server that is too old, or that evicts keys."""
    for version, policy, _ in _answers(store, _fitness):
        _check_version(settings.name, version)
        if policy != NO_EVICTION and not settings.option("ALLOW_EVICTION"):
            raise ConfigurationError(
                f"{_evicts(settings.name, policy)} Set maxmemory-policy to noeviction, or"
                ' "ALLOW_EVICTION": True to live with it.'
            )


def warnings(store: Store, settings: ConnectionSettings) -> list[str]:
    """Return what the servers may lose."""
    found: list[str] = []
    for _, policy, lost in _answers(store, _durability):
        if policy != NO_EVICTION:
            found.append(_evicts(settings.name, policy))
        if lost:
            found.append(
                f'The Redis of connection "{settings.name}" has {lost} when it restarts.'
                " Set appendonly to yes."
            )
    return list(dict.fromkeys(found))


def _answers(
    store: Store, question: Callable[[ServerConnection], tuple[str, str, str]]
) -> Iterator[tuple[str, str, str]]:
    """Return what the servers answer. One of a cluster may be away, with its own queues."""
    first: QueueUnavailable | None = None
    has_answered = False
    for connection in store.servers():
        try:
            with store.explained():
                store.allow_time()
                answer = question(connection)
        except QueueUnavailable as error:
            first = first or error
        else:
            has_answered = True
            yield answer
    if first is not None and not has_answered:
        raise first


def _fitness(connection: ServerConnection) -> tuple[str, str, str]:
    return _info(connection, b"server").get("redis_version", "0"), _policy(connection), ""


def _durability(connection: ServerConnection) -> tuple[str, str, str]:
    return "", _policy(connection), _lost_at_restart(connection)


def _info(connection: ServerConnection, section: bytes) -> dict[str, str]:
    text = connection.look(b"INFO", section).decode("utf-8", "replace")
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines}


def _check_version(connection: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ConfigurationError(
            f'Connection "{connection}" is a Redis {version}; djqueue needs Redis 6.2 or Valkey.'
            " Update the server."
        )


def _policy(connection: ServerConnection) -> str:
    return _info(connection, b"memory").get("maxmemory_policy", NO_EVICTION)


def _evicts(connection: str, policy: str) -> str:
    """Return whether the server evicts keys: an evicted key is a lost queue, and no client
    notices.
    """
    return (
        f'The Redis of connection "{connection}" has maxmemory-policy {policy}: when its memory'
        " is full it deletes keys, and with them whole queues, and no client gets an error."
    )


def _lost_at_restart(connection: ServerConnection) -> str:
    if _info(connection, b"persistence").get("aof_enabled") == "1":
        return ""
    try:
        answer = connection.look(b"CONFIG", b"GET", b"save")
    except exceptions.ResponseError:
        return ""  # a managed server, which keeps its configuration to itself
    if len(answer) > 1 and answer[1]:
        return "snapshots alone: what came after the last one is gone"
    return "no persistence: every job is gone"
