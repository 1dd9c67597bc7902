"""Whether a server may be trusted with jobs. Asked when a worker starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis import exceptions

from djqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.redis.link import Link
    from djqueue.drivers.redis.store import Store

logger = logging.getLogger("djqueue.drivers.redis")

OLDEST = (6, 2)


def check(store: Store, settings: ConnectionSettings) -> None:
    """Raise `ConfigurationError` for a server that evicts keys; warn of one that keeps nothing.

    An evicted key is a queue that is gone, and no client is told.
    """
    for link in store.servers():
        with store.explained():
            memory = _info(link, b"memory")
            persistence = _info(link, b"persistence")
            version = _info(link, b"server").get("redis_version", "0")
        _check_version(settings.name, version)
        _check_eviction(settings, memory.get("maxmemory_policy", "noeviction"))
        with store.explained():
            _warn_of_loss(settings.name, link, persistence)


def _info(link: Link, section: bytes) -> dict[str, str]:
    text = link.run((b"INFO", section)).decode("utf-8", "replace")
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines}


def _check_version(connection: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ConfigurationError(
            f'Connection "{connection}" is a Redis {version}; djqueue needs Redis 6.2 or Valkey.'
            " Update the server."
        )


def _check_eviction(settings: ConnectionSettings, policy: str) -> None:
    if policy == "noeviction":
        return
    words = (
        f'The Redis of connection "{settings.name}" has maxmemory-policy {policy}: when its memory'
        " is full it deletes keys, and with them whole queues, without an error to anybody. Set"
        ' maxmemory-policy to noeviction, or "ALLOW_EVICTION": True to live with it.'
    )
    if not settings.option("ALLOW_EVICTION"):
        raise ConfigurationError(words)
    logger.warning(words)


def _warn_of_loss(connection: str, link: Link, persistence: dict[str, str]) -> None:
    if persistence.get("aof_enabled") == "1":
        return
    try:
        answer = link.run((b"CONFIG", b"GET", b"save"))
    except exceptions.ResponseError:
        return  # a managed server, which keeps its configuration to itself
    if len(answer) > 1 and answer[1]:
        words = "snapshots alone: what came after the last one is gone"
    else:
        words = "no persistence: every job is gone"
    logger.warning(
        'The Redis of connection "%s" has %s when it restarts. Set appendonly to yes.',
        connection,
        words,
    )
