"""System checks of a Redis connection's settings. They reach no server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error

from djqueue.conf.kinds import Kind
from djqueue.drivers.redis.servers.urls import ESCAPES, SCHEMES, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from djqueue.conf import ConnectionSettings

CONTRADICTION = "djqueue.E030"
CACHE = "djqueue.E031"
SHARED = "djqueue.E032"
VALUE = "djqueue.E003"


class Place(NamedTuple):
    """A database of a server, as far as a URL tells."""

    host: str
    port: int
    database: str


_NOWHERE = Place("", 0, "")


def _is_url(value: Any) -> bool:
    urls = [value] if isinstance(value, str) else value
    return (
        isinstance(urls, (list, tuple))
        and bool(urls)
        and all(isinstance(url, str) and url.startswith(SCHEMES) for url in urls)
    )


URL = Kind("a URL like redis://host:6379/1", _is_url, secret=True)
PREFIX = Kind(
    "a text without braces, not empty",
    lambda value: isinstance(value, str) and value != "" and not set(value) & set("{}"),
)


def check(settings: ConnectionSettings) -> list[CheckMessage]:
    """Return what is wrong with ``URL``, ``CACHE``, ``CLUSTER`` and the other keys of a
    connection.
    """
    where = settings.place
    if found := list(_contradictions(settings, where)):
        return found
    alias = settings.option("CACHE")
    return list(_alias(settings, where) if alias is not None else _url(settings, where))


def _contradictions(settings: ConnectionSettings, where: str) -> Iterator[CheckMessage]:
    url, alias = settings.option("URL"), settings.option("CACHE")
    if url and alias is not None:
        yield Error(
            f'{where} has both "URL" and "CACHE".',
            hint="Remove one of them: a URL, or the alias of a django-redis cache.",
            id=CONTRADICTION,
        )
    elif not url and alias is None:
        yield Error(
            f'{where} has neither "URL" nor "CACHE".',
            hint='Add "URL": "redis://localhost:6379/1", or "CACHE" with an alias of CACHES.',
            id=CONTRADICTION,
        )
    elif settings.option("CLUSTER") and alias is not None:
        yield Error(
            f'{where} has "CLUSTER" together with "CACHE": django-redis has no cluster client.',
            hint='Write "URL" with a node of the cluster instead of "CACHE".',
            id=CONTRADICTION,
        )
    elif not settings.option("CLUSTER") and not isinstance(url, str) and alias is None:
        yield Error(
            f'{where}["URL"] is a list, but "CLUSTER" is not set.',
            hint='Name one server, or add "CLUSTER": True.',
            id=CONTRADICTION,
        )


# -- caches that would take the queue with them ---------------------------------------------------


def _alias(settings: ConnectionSettings, where: str) -> Iterator[CheckMessage]:
    alias = settings.option("CACHE")
    cache = _caches().get(alias)
    if cache is None:
        yield Error(
            f'{where}["CACHE"] names the cache "{alias}", which is not in CACHES.',
            hint=f'Add "{alias}" to CACHES. Known: {", ".join(sorted(_caches())) or "none"}.',
            id=CACHE,
        )
    elif not str(cache.get("BACKEND", "")).startswith("django_redis."):
        yield Error(
            f'The cache "{alias}" of {where} is a {cache.get("BACKEND")}, which is not'
            " django-redis.",
            hint='Name an alias with BACKEND django_redis.cache.RedisCache, or use "URL".',
            id=CACHE,
        )
    elif str(_options(cache).get("CLIENT_CLASS", "")).endswith("ShardClient"):
        yield Error(
            f'The cache "{alias}" of {where} has the ShardClient: a queue is on one server.',
            hint="Name an alias with the DefaultClient or the SentinelClient.",
            id=CACHE,
        )
    elif any(parts_of(url) is None for url in _locations(cache.get("LOCATION"))):
        yield Error(
            f'The cache "{alias}" of {where} has a LOCATION that cannot be read.',
            hint=ESCAPES,
            id=CACHE,
        )
    elif alias == "default" and not settings.option("ALLOW_SHARED_CACHE"):
        yield Error(
            f'{where} keeps its jobs in the cache "default": cache.clear() would delete them all.',
            hint="Give the queue an alias and a database number of its own in CACHES, or set "
            '"ALLOW_SHARED_CACHE": True if nothing ever clears that cache.',
            id=SHARED,
        )
    else:
        yield from _shared(settings, where, _places(cache.get("LOCATION")), alias)


def _url(settings: ConnectionSettings, where: str) -> Iterator[CheckMessage]:
    urls = settings.option("URL")
    if any(parts_of(url) is None for url in ([urls] if isinstance(urls, str) else urls)):
        yield Error(f'{where}["URL"] cannot be read.', hint=ESCAPES, id=VALUE)
        return
    yield from _shared(settings, where, _places(settings.option("URL")), None)


def _shared(
    settings: ConnectionSettings, where: str, places: set[Place], own: str | None
) -> Iterator[CheckMessage]:
    if settings.option("ALLOW_SHARED_CACHE"):
        return
    for alias, cache in _caches().items():
        if alias != own and "redis" in str(cache.get("BACKEND", "")).lower():
            for place in sorted(places & _places(cache.get("LOCATION"))):
                yield Error(
                    f"{where} keeps its jobs in database {place.database} of {place.host}:"
                    f'{place.port}, where the cache "{alias}" is too: clearing that cache would'
                    " delete them all.",
                    hint="Give the queue a database number of its own, better a server of its own,"
                    ' or set "ALLOW_SHARED_CACHE": True if nothing ever clears that cache.',
                    id=SHARED,
                )


def _caches() -> dict[str, Mapping[str, Any]]:
    caches = getattr(django_settings, "CACHES", {})
    return {str(alias): data for alias, data in caches.items() if isinstance(data, Mapping)}


def _options(cache: Mapping[str, Any]) -> Mapping[str, Any]:
    options = cache.get("OPTIONS")
    return options if isinstance(options, Mapping) else {}


def _places(location: Any) -> set[Place]:
    return {_place(url) for url in _locations(location)} - {_NOWHERE}


def _locations(location: Any) -> list[str]:
    if isinstance(location, str):
        location = location.split(",")
    urls = location if isinstance(location, (list, tuple, set)) else ()
    return [str(url).strip() for url in urls]


def _place(url: str) -> Place:
    parts = parts_of(url)
    if parts is None:  # of a cache: its first use raises
        return _NOWHERE
    database = parts.path.strip("/") or "0"
    if parts.scheme == "unix":
        query = dict(pair.partition("=")[::2] for pair in parts.query.split("&"))
        return Place(parts.path, 0, query.get("db", "0"))
    for pair in parts.query.split("&"):
        if pair.startswith("db="):
            database = pair[3:]
    host = parts.hostname or "localhost"
    return Place("localhost" if host == "127.0.0.1" else host, parts.port or 6379, database)
