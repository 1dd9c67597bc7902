"""The database router for a project whose jobs live in a database other than ``default``.

Name it in the settings: ``DATABASE_ROUTERS = ["djqueue.routers.QueueRouter"]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.conf import settings

if TYPE_CHECKING:
    from django.db.models import Model

APP_LABEL = "djqueue"


class QueueRouter:
    """Puts djqueue's tables where ``DJQUEUE`` says, and nowhere else.

    All of them are migrated to each database alias that the setting names. A query without
    ``using()`` goes to the alias its rows are in: failed jobs, batches, results and payloads to
    theirs, everything else to the default connection's. Models of other apps are no concern of it.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """The alias of djqueue's models; the one of `instance` where a relation is followed."""
        if model._meta.app_label != APP_LABEL:
            return None
        instance = hints.get("instance")
        if instance is not None and instance._meta.app_label == APP_LABEL and instance._state.db:
            alias: str = instance._state.db
            return alias
        return home(model._meta.model_name or "")

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        """As `db_for_read`."""
        return self.db_for_read(model, **hints)

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool | None:
        """Between djqueue's models within one database only; no opinion about other apps'."""
        if one._meta.app_label != APP_LABEL or other._meta.app_label != APP_LABEL:
            return None
        return one._state.db == other._state.db

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Whether `db` is one of those the setting names; no opinion about other apps."""
        if app_label != APP_LABEL:
            return None
        return db in settings().databases


def home(model_name: str) -> str:
    """The alias that rows of that model (a lower-case name) are in, when nothing more is known."""
    ours = settings()
    if model_name == "failedjob" and ours.failed_jobs is not None:
        return ours.failed_jobs
    if "batch" in model_name:
        return ours.batches
    if "result" in model_name and ours.results is not None:
        return ours.results.database
    if model_name == "payload":
        return ours.payload_database
    if model_name == "slot":
        return ours.limit_database
    return ours.job_database
