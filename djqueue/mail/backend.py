"""`QueuedEmailBackend`: a backend for Django's mail whose mails are jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.mail.backends.base import BaseEmailBackend

from djqueue.conf import settings
from djqueue.dispatch.many import dispatch_many
from djqueue.errors import NotSerializable, QueueUnavailable
from djqueue.mail.job import QueuedMail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.mail import EmailMessage

__all__ = ["QueuedEmailBackend"]


class QueuedEmailBackend(BaseEmailBackend):
    """Queues mails as jobs, which send them with the backend of ``DJQUEUE["MAIL"]``, or with
    `mailer`, another alias of ``MAILERS``, where the project has that setting.
    """

    def __init__(self, fail_silently: bool = False, *, mailer: str = "", **options: Any) -> None:
        own = {name: value for name, value in options.items() if value is not None}
        if given := sorted({"username", "password", "host", "port"} & own.keys()):
            raise NotSerializable(
                f"A queued mail cannot be sent with {' and '.join(given)} of one call: a password "
                "does not belong into a queue. Configure the backend that sends, or give the "
                "mail a connection of its own."
            )
        options.pop("username", None)
        options.pop("password", None)
        super().__init__(**options)
        self.fail_silently = fail_silently
        self._mailer = mailer

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Queue all `email_messages` that have a recipient, and return their number.

        In a transaction they are queued with its commit. Raises what the backend that sends would
        raise for a wrong header or address, and queues none of them then; `NotSerializable` for
        what a job cannot carry; `QueueUnavailable`, unless `fail_silently`.
        """
        ours = settings().mail
        jobs = [
            QueuedMail.of(message, self._mailer).using(connection=ours.connection, queue=ours.queue)
            for message in email_messages
            if message.recipients()
        ]
        try:
            return dispatch_many(jobs) if jobs else 0
        except QueueUnavailable as error:
            if not self.fail_silently:
                raise
            return len(error.stored)
