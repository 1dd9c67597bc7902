"""Whether queued mails can be sent: ``DJQUEUE["MAIL"]``, and mailers that queue in ``MAILERS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core import checks
from django.utils.module_loading import import_string

from djqueue.checks.setting import queue_name, unknown_connection
from djqueue.conf import settings
from djqueue.mail import QueuedEmailBackend
from djqueue.mail.real import BACKEND, mailers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WHERE = 'DJQUEUE["MAIL"]'


def check_mail(**_: Any) -> Iterator[checks.CheckMessage]:
    """Check that the backend that sends is there, and that it is another one."""
    ours = settings()
    yield from _backend(ours.mail.backend)
    if ours.mail.connection is not None and ours.mail.connection not in ours.connections:
        yield unknown_connection(f'{WHERE}["CONNECTION"]', ours.mail.connection, ours)
    if ours.mail.queue is not None:
        yield from queue_name(f'{WHERE}["QUEUE"]', ours.mail.queue, tagged=True)
    known = mailers() or {}
    for alias, mailer in known.items():
        if mailer.get("BACKEND") == BACKEND:
            yield from _mailer(alias, mailer, known)


def _backend(path: str) -> Iterator[checks.CheckMessage]:
    try:
        found = import_string(path)
    except ImportError:
        found = None
    if not isinstance(found, type):
        yield checks.Error(
            f'{WHERE}["BACKEND"] is "{path}", which cannot be imported.',
            hint="Write the dotted path of the mail backend that sends, or remove it for SMTP.",
            id="djqueue.E037",
        )
    elif issubclass(found, QueuedEmailBackend):
        yield checks.Error(
            f'{WHERE}["BACKEND"] is the backend that queues mails: none would ever be sent.',
            hint="Name the backend that sends them, such as "
            '"django.core.mail.backends.smtp.EmailBackend".',
            id="djqueue.E038",
        )


def _mailer(
    alias: str, mailer: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> Iterator[checks.CheckMessage]:
    target = mailer.get("OPTIONS", {}).get("mailer")
    if target not in known or known[target].get("BACKEND") == BACKEND:
        others = [name for name, each in known.items() if each.get("BACKEND") != BACKEND]
        yield checks.Error(
            f'MAILERS["{alias}"] queues mails, and its option "mailer" is {target!r}, which is no '
            "mailer that sends them.",
            hint='Name an alias of MAILERS that sends, as in "OPTIONS": {"mailer": "smtp"}. '
            f"There {'is' if len(others) == 1 else 'are'}: {', '.join(others) or 'none'}.",
            id="djqueue.E038",
        )
