"""The backend that sends what is queued, and the mails that must not wait in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import mail
from django.utils.module_loading import import_string

from djqueue.conf import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.mail.backends.base import BaseEmailBackend

__all__ = ["BACKEND", "DEFAULT_MAILER", "backend_path", "mailers", "open_backend", "past_the_queue"]

BACKEND = "djqueue.mail.QueuedEmailBackend"
DEFAULT_MAILER = "default"
_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def mailers() -> Mapping[str, Mapping[str, Any]] | None:
    """Return Django's setting ``MAILERS``, of 6.1 and later; None for a project without it."""
    found: Mapping[str, Mapping[str, Any]] | None = getattr(django_settings, "MAILERS", None)
    return found


def backend_path(mailer: str) -> str:
    """Return the path of the class that sends: that of `mailer`, an alias of ``MAILERS``, or
    ``DJQUEUE["MAIL"]["BACKEND"]`` where `mailer` is empty.
    """
    if not mailer:
        return settings().mail.backend
    return str((mailers() or {}).get(mailer, {}).get("BACKEND", _SMTP))


def open_backend(mailer: str) -> BaseEmailBackend:
    """Return the backend that sends."""
    if mailer:
        return mail.mailers[mailer]
    if mailers() is not None:  # there, get_connection() knows the default mailer only
        made: BaseEmailBackend = import_string(settings().mail.backend)()
        return made
    return mail.get_connection(settings().mail.backend)


def past_the_queue() -> dict[str, Any]:
    """Return what lets ``mail_admins()`` send at once where the project's mails are queued: a mail
    about a queue that is stuck must not wait in it.
    """
    known = mailers()
    if known is None:
        queued = django_settings.EMAIL_BACKEND == BACKEND
        return {"connection": open_backend("")} if queued else {}
    default = known.get(DEFAULT_MAILER, {})
    if default.get("BACKEND") != BACKEND:
        return {}
    return {"using": default.get("OPTIONS", {}).get("mailer")}
