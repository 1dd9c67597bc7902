"""Removing what is too old to be of use. Every worker does it, hourly."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from djqueue.bus import failed
from djqueue.conf import settings
from djqueue.drivers.now import UtcNow

GUARD_DAYS = 15
"""Days that a guard row is kept: longer than any store may hand the same job out again."""


def prune() -> None:
    """Remove failed jobs above the age in the settings, and old guard rows."""
    known = settings()
    if known.failed_jobs is not None and known.prune_failed_jobs is not None:
        before = timezone.now() - timedelta(seconds=known.prune_failed_jobs)
        failed.forget(failed.Selection(before=before))
    _prune_guards()


def _prune_guards() -> None:
    from djqueue.models import Run

    old = UtcNow() - timedelta(days=GUARD_DAYS)
    for alias in settings().databases:
        rows = Run.objects.using(alias).filter(updated_at__lt=old)
        while ids := list(rows.values_list("pk", flat=True)[:500]):
            Run.objects.using(alias).filter(pk__in=ids).delete()
