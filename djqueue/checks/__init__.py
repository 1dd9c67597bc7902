"""System checks: what cannot work is told at start-up, with a hint, not at the first dispatch.

Every id is explained in ``docs/reference/checks.md``. A driver checks its own keys in
`djqueue.drivers.base.Driver.check`.
"""

from __future__ import annotations

from django.core import checks

from djqueue.checks.connections import check_connections
from djqueue.checks.databases import check_databases
from djqueue.checks.deployment import check_deployment
from djqueue.checks.jobs import check_jobs
from djqueue.checks.routing import check_routing
from djqueue.checks.setting import check_setting
from djqueue.checks.tables import check_tables

__all__ = ["TAG", "errors", "register"]

TAG = "djqueue"
"""``manage.py check --tag djqueue`` runs these alone, but for those that need a database."""


def register() -> None:
    """Make the checks known to Django. Calling it again changes nothing."""
    for check in (check_setting, check_connections, check_databases, check_routing, check_jobs):
        checks.register(check, TAG)
    # Not under our own tag: asking for that must not connect to anything.
    checks.register(check_tables, checks.Tags.database)
    checks.register(check_deployment, TAG, deploy=True)


def errors(connection: str | None = None) -> list[checks.CheckMessage]:
    """The errors there are, but for those that the project silences and those that need a database.

    With a `connection` the drivers of others are not looked at: that would import their libraries.
    """
    only = None if connection is None else {connection}
    found = [
        *check_setting(),
        *check_connections(only=only),
        *check_databases(),
        *check_jobs(),
    ]
    return [each for each in found if each.is_serious() and not each.is_silenced()]
