"""The one "now" of everything that djqueue asks of SQL: the store's clock, in UTC.

Django's own `Now` is the time of the session's zone on MySQL and MariaDB, where a column keeps no
zone: beside what `djqueue.drivers.database.vendors.mysql` writes it would be hours off.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import functions
from django.utils import timezone


class UtcNow(functions.Now):
    """The time of this statement, in the form in which the database keeps times in UTC."""

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        """With microseconds."""
        # Django's Now is of the second before 6.1 where precision is not asked for; this never is.
        sql: tuple[str, Any] = self.as_sql(
            compiler, connection, template="UTC_TIMESTAMP(6)", **context
        )
        return sql


def aware(moment: datetime | None) -> datetime | None:
    """A time as the ORM read it, which has no zone where USE_TZ is False."""
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment
