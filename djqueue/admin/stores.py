"""Which connections the screens show, and which they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import DatabaseError, connections
from django.utils import formats, timezone
from django.utils.translation import gettext

from djqueue.conf import settings
from djqueue.dispatch import controls
from djqueue.drivers import driver_class
from djqueue.errors import ConfigurationError
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line


def with_jobs() -> Mapping[str, Sequence[str]]:
    """Return the database aliases that hold jobs, with their connections; the default's first."""
    ours = settings()
    found: dict[str, list[str]] = {ours.job_database: []}
    for name, connection in ours.connections.items():
        if connection.jobs_in_sql and connection.database in connections:
            found.setdefault(connection.database, []).append(name)
    return found


def elsewhere() -> list[str]:
    """Return the names of the connections whose jobs are in no database: each has a list of its
    own.
    """
    return [
        name
        for name, each in settings().connections.items()
        if not each.jobs_in_sql and _keeps_jobs(name)
    ]


def paused() -> list[str]:
    """Return the pauses that are in force, a line each; none if they cannot be read."""
    try:
        found = controls.pauses()
    except DatabaseError:
        return []
    return [_pause(each) for each in found]


def _pause(pause: controls.Pause) -> str:
    every = pause.connection == controls.EVERY_QUEUE
    values = {
        "place": gettext("Every queue") if every else f"{pause.connection}:{pause.queue}",
        "until": formats.date_format(timezone.localtime(pause.until), "DATETIME_FORMAT")
        if pause.until
        else "",
        "by": pause.by,
    }
    if pause.until and pause.by:
        template = gettext("%(place)s is paused until %(until)s by %(by)s.")
    elif pause.until:
        template = gettext("%(place)s is paused until %(until)s.")
    elif pause.by:
        template = gettext("%(place)s is paused by %(by)s.")
    else:
        template = gettext("%(place)s is paused.")
    return one_line(masked_text(f"{template % values} {pause.reason}".rstrip()))


def _keeps_jobs(name: str) -> bool:
    try:
        capabilities = driver_class(settings().connections[name]).capabilities
    except ConfigurationError:
        return True  # it may; the system checks say what is wrong with it
    return capabilities.keeps_jobs and capabilities.why_not("workers") is None
