"""Sending one mail to an SMTP server, and what the server says of its recipients."""

from __future__ import annotations

import smtplib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.mail.backends.smtp import EmailBackend

from djqueue.errors import MailRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.mail import EmailMessage

__all__ = ["EmailBackend", "send"]

Refusals = dict[str, tuple[int, bytes]]
"""Addresses, each with the code and the words of the server."""


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


def send(backend: EmailBackend, message: EmailMessage) -> Refusals:
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
