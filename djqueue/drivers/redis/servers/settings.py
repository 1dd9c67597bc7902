"""From a connection's settings to a `Store`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from djqueue.drivers.redis.servers.cluster import Cluster
from djqueue.drivers.redis.servers.store import Single, Store
from djqueue.drivers.redis.servers.urls import ESCAPES, SCHEMES, parts_of
from djqueue.errors import ConfigurationError, MissingPackage

if TYPE_CHECKING:
    from redis.connection import Connection

    from djqueue.conf import ConnectionSettings

Address = tuple[str, int]
_REPLACED = ("retry", "retry_on_error", "retry_on_timeout", "event_dispatcher")


def make_store(settings: ConnectionSettings) -> Store:
    """Return the store that ``CACHE`` or ``URL`` names. Connects to nothing yet."""
    url, alias = settings.option("URL"), settings.option("CACHE")
    timeout = float(settings.option("TIMEOUT"))
    if alias is not None:
        pool = _pool_of_cache(settings, str(alias))
    elif url:
        pool = _pool_of_url(settings, url if isinstance(url, str) else url[0])
    else:
        where = f'DJQUEUE["CONNECTIONS"]["{settings.name}"]'
        raise ConfigurationError(f'{where} has neither "URL" nor "CACHE". Set one of them.')
    timeout = float(pool.connection_kwargs.get("socket_timeout") or timeout)
    if not settings.option("CLUSTER"):
        return Single(settings.name, timeout, partial(_connect, pool))
    urls = [url] if isinstance(url, str) else list(url)
    seeds = [_address(_pool_of_url(settings, each)) for each in urls]
    return Cluster(settings.name, timeout, seeds, partial(_connect, pool))


def _pool_of_cache(settings: ConnectionSettings, alias: str) -> ConnectionPool:
    try:
        from django_redis import get_redis_connection
    except ImportError as error:
        raise MissingPackage(
            f'Connection "{settings.name}" uses the cache "{alias}", which needs django-redis. '
            'Run: pip install "djqueue[redis]".'
        ) from error
    try:
        pool: ConnectionPool = get_redis_connection(alias).connection_pool
    except ValueError:
        pass  # its words may be a password
    else:
        return pool
    raise ConfigurationError(f'CACHES["{alias}"]["LOCATION"] cannot be read. {ESCAPES}')


def _pool_of_url(settings: ConnectionSettings, url: str) -> ConnectionPool:
    where = f'DJQUEUE["CONNECTIONS"]["{settings.name}"]["URL"]'
    if not url.startswith(SCHEMES):
        raise ConfigurationError(
            f"{where} cannot be read: it begins with none of {', '.join(SCHEMES)}."
        )
    try:
        if parts_of(url) is not None:
            return ConnectionPool.from_url(url)
    except (ValueError, TypeError):
        pass  # its words may be a password
    raise ConfigurationError(f"{where} cannot be read. {ESCAPES}")


def _address(pool: ConnectionPool) -> Address:
    kwargs = pool.connection_kwargs
    return kwargs.get("host", "localhost"), int(kwargs.get("port", 6379))


def _connect(pool: ConnectionPool, address: Address | None = None) -> Connection:
    """A connection as the pool makes them, but for ourselves: it never goes back.

    It has bytes and errors at once. redis-py would send a command again after a lost answer, and
    sleep in between; but an exchange that runs twice reserves twice, and a worker must not sleep.
    How long it waits is said by the `ServerConnection` that opens it.
    """
    given = pool.connection_kwargs
    kwargs: dict[str, Any] = {
        key: value
        for key, value in given.items()
        if key not in _REPLACED and not key.startswith(("maint", "orig_", "oss_"))
    }
    kwargs |= {
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
        "health_check_interval": 0,
        "protocol": 2,
    }
    if address is not None:
        kwargs |= {"host": address[0], "port": address[1], "db": 0}
    connection: Connection = pool.connection_class(**kwargs)
    return connection
