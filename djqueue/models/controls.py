"""What operators ask of workers, and the page on which they look at everything."""

from __future__ import annotations

from django.db import models
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

__all__ = ["Control", "Overview"]


class Control(models.Model):
    """Paused queues, restarts, and jobs that are to be stopped."""

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(max_length=200, unique=True)
    """``restart``, ``restart:<database>:<row of a worker>``, ``pause:*``,
    ``pause:<connection>:<queue>`` or ``stop:<id of a job>``."""
    value = models.BigIntegerField(default=0)
    """For ``restart`` a number that only grows: a worker that sees another one than at its start
    stops."""
    until = models.DateTimeField(null=True)
    reason = models.CharField(max_length=255, default="")
    by = models.CharField(max_length=255, default="")
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "djqueue_controls"
        default_permissions = ()
        verbose_name = _("control")
        verbose_name_plural = _("controls")

    def __str__(self) -> str:
        return self.scope


class Overview(Control):
    """The first page of the admin. It has no rows of its own; its permissions are those of the
    page.
    """

    class Meta:
        proxy = True
        verbose_name = _("overview")
        # The admin sorts its models by this name: a space comes before every letter.
        verbose_name_plural = format_lazy(" {}", _("Overview"))
        default_permissions = ("view",)
        permissions = (("pause_queue", "Can pause and resume queues"),)
