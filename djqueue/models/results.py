"""The table of results."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class JobResult(models.Model):
    """What is known of a job with ``store_result``: from its dispatch on, until some time after its
    end.
    """

    id = models.UUIDField(_("id"), primary_key=True)
    """The id of the job."""
    name = models.CharField(_("job"), max_length=255)
    queue = models.CharField(_("queue"), max_length=80)
    connection = models.CharField(_("connection"), max_length=255)
    status = models.CharField(_("status"), max_length=10, db_default="waiting")
    """``waiting`` until the job has ended, then ``done``, ``failed`` or ``cancelled``."""
    done = models.FloatField(_("done"), null=True)
    """How far the job says that it has come. NULL: it has not said so."""
    total = models.FloatField(_("total"), null=True)
    message = models.CharField(_("message"), max_length=200, db_default="")
    value = models.TextField(_("value"), null=True)
    """JSON, as arguments are stored. NULL: None, or nothing that can be stored."""
    error = models.TextField(_("error"), null=True)
    """Why it failed; of a job that is done, why its value is not stored."""
    owner = models.CharField(_("owner"), max_length=255, db_default="")
    """The primary key of the user for whom it was dispatched; empty: no user."""
    created_at = models.DateTimeField(_("created at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    keep_until = models.DateTimeField()
    """Pruning removes it then."""

    class Meta:
        db_table = "djqueue_results"
        verbose_name = _("result")
        verbose_name_plural = _("results")
        default_permissions = ("view", "delete")
        indexes = (models.Index(fields=["keep_until"], name="djqueue_results_keep"),)

    def __str__(self) -> str:
        return f"{self.name} {self.id}"
