"""Whether what runs around jobs can: ``MIDDLEWARE``, limits by name, and the cache of limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks

from djqueue.conf import did_you_mean, settings
from djqueue.jobs import registry
from djqueue.limits import definitions
from djqueue.middleware import RateLimited
from djqueue.middleware.pipeline import loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WHERE = 'DJQUEUE["MIDDLEWARE"]'


def check_around(**_: Any) -> list[checks.CheckMessage]:
    """Paths of middleware, names of limits, and the cache that keeps them."""
    return [*_cache(), *_paths(), *_limits()]


def _cache() -> Iterator[checks.CheckMessage]:
    alias = settings().limits.cache
    if alias is None:
        return
    where, caches = 'DJQUEUE["LIMITS"]["CACHE"]', django_settings.CACHES
    backend = str(caches.get(alias, {}).get("BACKEND", ""))
    if alias not in caches:
        yield checks.Error(
            f'{where} is "{alias}", which is not in CACHES.',
            hint=f"{did_you_mean(alias, caches)} Known: {', '.join(caches)}.".lstrip(),
            id="djqueue.E024",
        )
    elif not backend.startswith("django_redis."):
        yield checks.Error(
            f'{where} is "{alias}", whose BACKEND is {backend}: it has no scripts.',
            hint="Name an alias with BACKEND django_redis.cache.RedisCache, or remove CACHE: limits"
            " are in the database then.",
            id="djqueue.E024",
        )
    else:
        try:
            import django_redis  # noqa: F401 - whether it is there
        except ImportError:
            yield checks.Error(
                f'{where} is "{alias}", which needs django-redis.',
                hint='Run: pip install "djqueue[redis]".',
                id="djqueue.E006",
            )


def _paths() -> Iterator[checks.CheckMessage]:
    for path in settings().middleware:
        middleware: object
        try:
            (middleware,) = loaded((path,))
        except Exception as error:  # noqa: BLE001 - importing and making it runs the project's code
            yield checks.Error(
                f"{WHERE} has {path!r}, which cannot be loaded: {type(error).__name__}: {error}",
                hint="Write the dotted path of a callable, or of a class that is made without"
                " arguments.",
                id="djqueue.E025",
            )
        else:
            if not _can_be_called(middleware):
                yield checks.Error(
                    f"{WHERE} has {path!r}, which cannot be called.",
                    hint="A middleware takes the job and what comes next: def audit(job, next).",
                    id="djqueue.E025",
                )


def _can_be_called(middleware: object) -> bool:
    return callable(middleware)


def _limits() -> Iterator[checks.CheckMessage]:
    for spec in registry.all():
        yield from _unknown(spec.name, spec.options.middleware)


def _unknown(job: str, middleware: Iterable[object]) -> Iterator[checks.CheckMessage]:
    known = definitions.known()
    for each in middleware:
        if isinstance(each, RateLimited) and each.name not in known:
            yield checks.Error(
                f'{job} has RateLimited("{each.name}"), and no limit is called that.',
                hint=f"{did_you_mean(each.name, known)} Define it in a module that workers import:"
                f' define("{each.name}", allow=10, every=60).'.lstrip(),
                id="djqueue.E026",
            )
