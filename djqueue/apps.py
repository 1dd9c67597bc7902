"""djqueue as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjqueueConfig(AppConfig):
    """Registers the system checks and finds the project's jobs."""

    name = "djqueue"
    label = "djqueue"
    verbose_name = _("Queue")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django once every model is there."""
        from djqueue import checks, mail, models  # noqa: F401 - the job of queued mails
        from djqueue.dispatch import inline
        from djqueue.jobs import discovery
        from djqueue.management import hints
        from djqueue.operations.batches import Verbs
        from djqueue.text import logs
        from djqueue.tracing.tracing import tracing

        models.JobBatch.verbs = Verbs()
        logs.install()
        tracing.follow_setting()
        checks.register()
        inline.follow_requests()
        discovery.discover()
        hints.install()
