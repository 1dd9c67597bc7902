"""The table of incidents: what is wrong, and whether those in ``NOTIFY`` were notified of it."""

from __future__ import annotations

from django.db import models


class Incident(models.Model):
    """Something that is wrong, until it has ended and a message about that was sent.

    The row `WATCH` is none: its `seen_at` is the time of the last look, and the worker that moves
    it on has the next one.
    """

    WATCH = "watch"

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=200, unique=True)
    """Equal as long as it is the same incident: ``waits:<connection>:<queue>`` and the like."""
    text = models.TextField(default="")
    begun_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """The last look that has found it."""
    said_at = models.DateTimeField(null=True)
    """When its beginning was said. NULL: not yet."""
    taken_until = models.DateTimeField(null=True)
    """While this is in the future, the process named by `taken_by` is saying it."""
    taken_by = models.CharField(max_length=36, default="")

    class Meta:
        db_table = "djqueue_incidents"
        verbose_name = "incident"
        verbose_name_plural = "incidents"
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
