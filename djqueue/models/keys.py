"""The tables of keys: of unique jobs, and of debounced ones."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["Debounced", "Key"]


class Key(models.Model):
    """Which job has a unique key, or had it last: it has the key as long as it is in its store."""

    key = models.CharField(_("unique key"), max_length=200, primary_key=True)
    job = models.UUIDField(_("job"))
    connection = models.CharField(_("connection"), max_length=255)
    queue = models.CharField(_("queue"), max_length=80)
    until = models.DateTimeField(_("until"), null=True)
    """After this another job takes the key, by the database's clock; NULL: never."""
    taken_at = models.DateTimeField(_("taken at"))

    class Meta:
        db_table = "djqueue_keys"
        default_permissions = ()
        verbose_name = _("unique key")
        verbose_name_plural = _("unique keys")

    def __str__(self) -> str:
        return self.key


class Debounced(models.Model):
    """Which job waits for a debounced key, or waited last: the next dispatch replaces it as long as
    its row of the outbox says so.
    """

    key = models.CharField(max_length=200, primary_key=True)
    job = models.UUIDField()
    asked_at = models.DateTimeField()
    """When a dispatch last looked for a job to replace, and locked the row."""

    class Meta:
        db_table = "djqueue_debounced"
        default_permissions = ()
        verbose_name = _("debounced key")
        verbose_name_plural = _("debounced keys")

    def __str__(self) -> str:
        return self.key
