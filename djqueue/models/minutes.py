"""The table of statistics: one row for each minute, hour, connection, queue and job."""

from __future__ import annotations

from django.db import models

from djqueue.statistics.histogram import COUNTS


class Minute(models.Model):
    """What workers counted in a minute, in an hour, or ever. All of them are numbers to add up."""

    id = models.BigAutoField(primary_key=True)
    span = models.IntegerField()
    """Seconds: 60 or 3600. 0: since the first job."""
    at = models.BigIntegerField()
    """The beginning of the minute or hour by the clocks of workers, in seconds since the epoch."""
    connection = models.CharField(max_length=255)
    queue = models.CharField(max_length=80)
    name = models.CharField(max_length=255)
    """The name of the job."""

    class Meta:
        db_table = "djqueue_minutes"
        verbose_name = "minute of statistics"
        verbose_name_plural = "minutes of statistics"
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["span", "at", "connection", "queue", "name"], name="djqueue_minutes_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.connection}:{self.queue} {self.name} {self.at}"


for _column in COUNTS:
    Minute.add_to_class(_column, models.BigIntegerField(default=0))
