"""The table of jobs that were done a short while ago."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class FinishedJob(models.Model):
    """A job that was done. Kept for people to see, and known to nothing else."""

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(_("id"))
    name = models.CharField(_("job"), max_length=255)
    queue = models.CharField(_("queue"), max_length=80)
    connection = models.CharField(_("connection"), max_length=255)
    attempts = models.PositiveIntegerField(_("attempts"))
    duration = models.FloatField(_("duration"))
    """Seconds that the last attempt took."""
    finished_at = models.DateTimeField(_("finished at"))
    """By the clock of the worker."""

    class Meta:
        db_table = "djqueue_finished"
        verbose_name = _("finished job")
        verbose_name_plural = _("finished jobs")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["finished_at"], name="djqueue_finished_at"),)

    def __str__(self) -> str:
        return f"{self.name} {self.uuid}"
