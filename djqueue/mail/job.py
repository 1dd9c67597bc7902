"""`QueuedMail`: the job that sends a mail."""

from __future__ import annotations

import smtplib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.mail.backends.smtp import EmailBackend
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

Refusals = dict[str, tuple[int, bytes]]
"""Addresses, each with the code and the words of the server."""

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
        backend = open_backend(self.mailer)
        if not isinstance(backend, EmailBackend):
            backend.send_messages([self.message()])
            return
        refused = _send_by_smtp(backend, message_of(self, self._headers_of_smtp()))
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


class _Noting:
    """A connection to a server that notes the recipients whom it refused while it took the mail for
    others: Django does not hand them on.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.refused: Refusals = {}

    def sendmail(self, *given: Any, **options: Any) -> Refusals:
        self.refused = self._connection.sendmail(*given, **options)
        return self.refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _send_by_smtp(backend: EmailBackend, message: EmailMessage) -> Refusals:
    """Send `message`, and return those whom the server refused while it took the mail for others.
    Raises `MailRefused` where it refused all of them, or the mail, for good.
    """
    backend.open()
    noting = _Noting(backend.connection)
    backend.connection = noting  # type: ignore[assignment]
    try:
        backend.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        if all(code >= 500 for code, _ in error.recipients.values()):
            raise MailRefused(
                f"The mail server refused every recipient: {_listed(error.recipients)}."
            ) from error
        raise
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        if error.smtp_code >= 500:
            raise MailRefused(_said(error, message)) from error
        raise
    finally:
        _close(backend)
    return noting.refused


def _close(backend: EmailBackend) -> None:
    with suppress(OSError):  # whether the mail was taken is known by now
        backend.close()


def _said(error: smtplib.SMTPResponseException, message: EmailMessage) -> str:
    what = "the sender" if isinstance(error, smtplib.SMTPSenderRefused) else "the mail"
    words = _answer(error.smtp_code, error.smtp_error)
    return f"The mail server refused {what} ({words}), so it goes to none of: " + ", ".join(
        map(str, message.recipients())
    )


def _listed(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{address} ({_answer(*said)})" for address, said in refused.items())


def _answer(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"{code} {' '.join(text.split())}"
