"""The ``DJQUEUE`` setting, read once and typed.

`settings()` does not raise for a wrong value: the system checks report it, with its place and a
remedy. Using a connection with a wrong value raises a `ConfigurationError` with the same text (see
`Settings.connection`).

Not here: the keys of one driver, which are in its `Driver.OPTIONS`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from djqueue.conf.kinds import did_you_mean
from djqueue.conf.reader import read
from djqueue.conf.values import (
    NO_ROUTE,
    ConnectionSettings,
    LimitSettings,
    PayloadSettings,
    Problem,
    ResultSettings,
    Route,
    Settings,
)

__all__ = [
    "NO_ROUTE",
    "ConnectionSettings",
    "LimitSettings",
    "PayloadSettings",
    "Problem",
    "ResultSettings",
    "Route",
    "Settings",
    "did_you_mean",
    "read",
    "settings",
]


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the ``DJQUEUE`` setting with all defaults filled in. Follows ``override_settings``."""
    return read(getattr(django_settings, "DJQUEUE", None))


def _invalidate(*, setting: str, **_: Any) -> None:
    if setting == "DJQUEUE":
        settings.cache_clear()


setting_changed.connect(_invalidate, dispatch_uid="djqueue.conf")
