"""The store of slots that the settings name."""

from __future__ import annotations

from functools import lru_cache

from djqueue.conf import settings
from djqueue.limits.cache import CacheStore
from djqueue.limits.database import DatabaseStore
from djqueue.limits.values import Store

__all__ = ["store"]


def store() -> Store:
    """The one that ``DJQUEUE["LIMITS"]`` names."""
    ours = settings()
    if ours.limits.cache is not None:
        return _cache(ours.limits.cache)
    return _database(ours.limit_database)


@lru_cache(maxsize=8)
def _database(alias: str) -> Store:
    return DatabaseStore(alias)


@lru_cache(maxsize=8)
def _cache(alias: str) -> Store:
    return CacheStore(alias)
