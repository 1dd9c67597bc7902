"""Drivers speak to stores; a connection's ``DRIVER`` names one.

A driver's module is imported when a connection that names it is used or checked, never before,
so it may import its client library at its top: a package that is not installed becomes a
`MissingPackage` with the command that installs it.

Not here: what a job is. Drivers import nothing of jobs, runner or worker.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from djqueue.conf import ConnectionSettings, did_you_mean
from djqueue.drivers.base import Driver
from djqueue.errors import ConfigurationError, MissingPackage

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXTRAS", "SHORT_NAMES", "driver_class", "driver_path", "make_driver"]

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "database": "djqueue.drivers.database.DatabaseDriver",
        "sync": "djqueue.drivers.local.SyncDriver",
        "null": "djqueue.drivers.local.NullDriver",
        "redis": "djqueue.drivers.redis.RedisDriver",
        "sqs": "djqueue.drivers.sqs.SqsDriver",
        "beanstalkd": "djqueue.drivers.beanstalkd.BeanstalkdDriver",
        "failover": "djqueue.drivers.failover.FailoverDriver",
        "deferred": "djqueue.drivers.local.DeferredDriver",
    }
)
EXTRAS: Mapping[str, str] = MappingProxyType({SHORT_NAMES[name]: name for name in ("redis", "sqs")})
"""The pip extra of each driver whose client library is not a part of Django."""


def driver_path(name: str) -> str:
    """Return the dotted path that a ``DRIVER`` stands for."""
    return SHORT_NAMES.get(name, name)


def driver_class(settings: ConnectionSettings) -> type[Driver]:
    """Return the class that a connection's ``DRIVER`` names. Raises `MissingPackage` when its
    client library is not installed, `ConfigurationError` when the name is unknown, cannot be
    imported or names something else than a driver.
    """
    path = driver_path(settings.driver)
    if "." not in path:
        raise ConfigurationError(
            f'Connection "{settings.name}" has an unknown driver "{settings.driver}".'
            f"{did_you_mean(settings.driver, SHORT_NAMES)} "
            f"Known drivers: {', '.join(SHORT_NAMES)}, or a dotted path to a class."
        )
    try:
        found = import_string(path)
    except ImportError as error:
        raise _import_failed(settings, path, error) from error
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise ConfigurationError(
            f'The driver of connection "{settings.name}", {path}, is not a subclass of '
            "djqueue.drivers.base.Driver. Name a class that is."
        )
    return found


def make_driver(settings: ConnectionSettings) -> Driver:
    """Return a driver for that connection, for the use of one thread. Raises as `driver_class`."""
    return driver_class(settings)(settings)


def _import_failed(
    settings: ConnectionSettings, path: str, error: ImportError
) -> ConfigurationError:
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and path in EXTRAS and package != "djqueue":
        return MissingPackage(
            f'Connection "{settings.name}" needs the package "{package}", which is not installed. '
            f'Run: pip install "djqueue[{EXTRAS[path]}]".'
        )
    return ConfigurationError(
        f'The driver of connection "{settings.name}", {path}, cannot be imported: {error}. '
        "Correct the dotted path, or the error in its module."
    )
