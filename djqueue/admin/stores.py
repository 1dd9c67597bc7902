"""Which connections the screens show, and which they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import connections

from djqueue.conf import settings
from djqueue.drivers import driver_class
from djqueue.errors import ConfigurationError


def with_jobs() -> Mapping[str, Sequence[str]]:
    """The database aliases that hold jobs, with their connections; the default's first."""
    ours = settings()
    found: dict[str, list[str]] = {ours.job_database: []}
    for name, connection in ours.connections.items():
        if connection.uses_database and connection.database in connections:
            found.setdefault(connection.database, []).append(name)
    return found


def elsewhere() -> list[str]:
    """Names of the connections whose jobs are in no database, and so not on the jobs page."""
    return [
        name
        for name, each in settings().connections.items()
        if not each.uses_database and _keeps_jobs(name)
    ]


def _keeps_jobs(name: str) -> bool:
    try:
        capabilities = driver_class(settings().connections[name]).capabilities
    except ConfigurationError:
        return True  # it may; the system checks say what is wrong with it
    keeps_nothing = capabilities.inline or capabilities.discards
    return capabilities.workers is True and not keeps_nothing
