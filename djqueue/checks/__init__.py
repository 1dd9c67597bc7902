"""System checks: wrong settings are reported at start-up, with a hint, not at the first dispatch.

``docs/reference/checks.md`` explains every id. A driver checks its keys in
`djqueue.drivers.base.Driver.check`.

Not here: what has to be asked of a server other than a database. A worker says it when it starts
(`djqueue.drivers.base.Inspector.warnings`).
"""

from __future__ import annotations

from django.core import checks

from djqueue.checks.around import check_around
from djqueue.checks.connections import check_connections
from djqueue.checks.databases import check_databases
from djqueue.checks.deployment import check_deployment
from djqueue.checks.jobs import check_jobs
from djqueue.checks.mail import check_mail
from djqueue.checks.notify import check_notify
from djqueue.checks.routing import check_routing
from djqueue.checks.setting import check_setting
from djqueue.checks.tables import check_tables

__all__ = ["TAG", "errors", "register"]

TAG = "djqueue"
"""``manage.py check --tag djqueue`` runs only these, without those that need a database."""


def register() -> None:
    """Register the checks with Django. A second call changes nothing."""
    for check in (
        check_setting,
        check_connections,
        check_databases,
        check_routing,
        check_jobs,
        check_around,
        check_mail,
        check_notify,
    ):
        checks.register(check, TAG)
    # Not with djqueue's tag: checks with that tag must not connect to anything.
    checks.register(check_tables, checks.Tags.database)
    checks.register(check_deployment, TAG, deploy=True)


def errors(connection: str | None = None) -> list[checks.CheckMessage]:
    """Return all errors, without silenced ones and without checks that need a database.

    With `connection`, other drivers are not checked, so that their libraries are not imported.
    """
    only = None if connection is None else {connection}
    found = [
        *check_setting(),
        *check_connections(only=only),
        *check_databases(),
        *check_jobs(),
        *check_around(),
        *check_mail(),
        *check_notify(),
    ]
    return [each for each in found if each.is_serious() and not each.is_silenced()]
