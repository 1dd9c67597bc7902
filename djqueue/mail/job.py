"""`QueuedMail`: the job that sends a mail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from djqueue.compat import check_smtp_address
from djqueue.errors import MailRefused
from djqueue.jobs.job import Job
from djqueue.mail.message import Content, Part, fields_of, message_of
from djqueue.mail.real import backend_path, open_backend
from djqueue.payload.backoff import exponential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.mail import EmailMessage
    from typing_extensions import Self

__all__ = ["QueuedMail"]

AGAIN_AFTER = 60.0
"""Seconds after which the recipients are tried again whom the server refused while it took the mail
for others."""


class QueuedMail(
    Job, name="djqueue.mail", tries=10, backoff=exponential(30, 3600), fail_on=MailRefused
):
    """Sends one mail with the project's real backend."""

    subject: str
    to: list[str]
    from_email: str
    body: str
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    headers: dict[str, Any]
    alternatives: list[Content] | None
    """None for a message that can have none."""
    attachments: list[Content | Part]
    attributes: dict[str, Any]
    """What else was set on the message."""
    message_id: str
    """The Message-ID and the Date of every attempt over SMTP."""
    date: str
    mailer: str = ""
    """An alias of ``MAILERS``; empty: the backend of ``DJQUEUE["MAIL"]``."""

    @classmethod
    def of(cls, message: EmailMessage, mailer: str = "") -> Self:
        """Return the job that sends `message`. Raises what is wrong with the message."""
        from django.core.mail.backends.smtp import EmailBackend

        made = cls(**fields_of(message), mailer=mailer)
        if issubclass(import_string(backend_path(mailer)), EmailBackend):
            for address in (made.from_email, *message.recipients()):
                check_smtp_address(str(address), message.encoding)
        return made

    def message(self) -> EmailMessage:
        """Return the message."""
        return message_of(self, self.headers)

    def handle(self) -> None:
        """Send the mail. Raises `MailRefused` where the server refused it for good; what is raised
        otherwise is tried again.
        """
        from djqueue.mail import smtp  # with the library, where a mail is sent

        backend = open_backend(self.mailer)
        if not isinstance(backend, smtp.EmailBackend):
            backend.send_messages([self.message()])
            return
        refused = smtp.send(backend, message_of(self, self._headers_of_smtp()))
        if refused:
            self._send_to_others(list(refused))

    def _headers_of_smtp(self) -> Mapping[str, Any]:
        """Return the headers with those by which a server knows a mail that it is sent twice."""
        names = {name.lower() for name in self.headers}
        own = {"Message-ID": self.message_id, "Date": self.date}
        more = {name: value for name, value in own.items() if name.lower() not in names}
        return {**self.headers, **more}

    def _send_to_others(self, refused: list[str]) -> None:
        """Make a mail of its own for those whom the server `refused` while it took the mail for
        others, who so get it once. Its headers name everybody.
        """
        shown = {"To": ", ".join(self.to), "Cc": ", ".join(self.cc)}
        headers = {name: value for name, value in shown.items() if value}
        rest = replace(
            self, to=[], cc=[], bcc=refused, headers={**headers, **self._headers_of_smtp()}
        )
        here = self.job
        rest.using(connection=here.connection, queue=here.queue, delay=AGAIN_AFTER).dispatch()
