"""`queued_mails`: mails of a test are jobs, and reach the outbox when these run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from django.conf import settings
from django.core import mail
from django.test.utils import override_settings

from djqueue.mail.real import BACKEND, DEFAULT_MAILER, mailers
from djqueue.testing.decorating import decorated

if TYPE_CHECKING:
    from types import TracebackType

    from django.core.mail import EmailMessage

__all__ = ["QueuedMails", "queued_mails"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_OUTBOX = "django.core.mail.backends.locmem.EmailBackend"
_SENDS = "djqueue-outbox"


class QueuedMails:
    """Settings under which the project's mails are queued, and sent to ``django.core.mail.outbox``
    whatever the project sends them with. Its target is that outbox.
    """

    def __enter__(self) -> list[EmailMessage]:
        self._settings = override_settings(**_overridden())
        with _without_warnings():
            self._settings.enable()
        if not hasattr(mail, "outbox"):
            mail.outbox = []
        return mail.outbox

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _without_warnings():
            self._settings.disable()

    def __call__(self, target: Decorated) -> Decorated:
        """Decorate a test function, or a class for each of its tests."""
        return decorated(target, QueuedMails, "queued_mails")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Django 6.1 warns of EMAIL_BACKEND, which a project without ``MAILERS`` has anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        yield


def _overridden() -> dict[str, Any]:
    """Return the settings that differ. Where the project has ``MAILERS``, mails of others than the
    default one stay as they are.
    """
    ours = dict(getattr(settings, "DJQUEUE", None) or {})
    ours["MAIL"] = {**ours.get("MAIL", {}), "BACKEND": _OUTBOX}
    known = mailers()
    if known is None:
        return {"DJQUEUE": ours, "EMAIL_BACKEND": BACKEND}
    queued = {"BACKEND": BACKEND, "OPTIONS": {"mailer": _SENDS}}
    return {
        "DJQUEUE": ours,
        "MAILERS": {**known, DEFAULT_MAILER: queued, _SENDS: {"BACKEND": _OUTBOX}},
    }


@overload
def queued_mails() -> QueuedMails: ...
@overload
def queued_mails(target: Decorated) -> Decorated: ...
def queued_mails(target: Any = None) -> Any:
    """Queue the mails of a test, although Django's test runner has replaced the backend.

        with queued_mails() as outbox:
            register("ada@example.com")
            assert outbox == []
            work()
            assert outbox[0].to == ["ada@example.com"]

    No mail leaves the process. Also a decorator, which gives the outbox to the argument that a call
    lacks, and a pytest fixture.
    """
    found = QueuedMails()
    return found if target is None else found(target)
