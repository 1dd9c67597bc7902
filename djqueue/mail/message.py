"""A message of Django as values that a job can carry, and the message made from them."""

from __future__ import annotations

import email.policy
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from email.parser import BytesParser
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.message import EmailAlternative, EmailAttachment

from djqueue.errors import NotSerializable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Content", "Part", "fields_of", "message_of"]


@dataclass(frozen=True)
class Content:
    """An attachment, or an alternative of the body."""

    filename: str | None
    content: str | bytes
    mimetype: str | None


@dataclass(frozen=True)
class Part:
    """A MIME part that the project has made itself, such as an inline image."""

    data: bytes
    is_modern: bool
    """Whether it is a `MIMEPart`, of Python's modern email interface."""


_CARRIED = frozenset(
    {
        *("subject", "body", "from_email", "to", "cc", "bcc", "reply_to"),
        *("extra_headers", "alternatives", "attachments"),
    }
)
_LEFT_BEHIND = frozenset({"connection", "_connection", "anymail_status"})
"""Attributes of a message that belong to the process which made it, or to the backend that has sent
it (django-anymail)."""
_OF_CLASSES = ("content_subtype", "encoding", "mixed_subtype", "alternative_subtype")
"""Attributes that a class may set for all its messages."""
_MAKES_NOTHING = frozenset(
    {"send", "get_connection", "body_contains", "attach", "attach_file", "attach_alternative"}
)
"""Methods that a class may have of its own, and Django's classes still make the same mail."""
_PLAIN = (str, int, float, Decimal, date)


def fields_of(message: EmailMessage) -> dict[str, Any]:
    """Return the arguments of `QueuedMail` for `message`.

    Raises what the message raises for a wrong header or attachment, and `NotSerializable` for what
    a job cannot carry.
    """
    kind: Any = type(message)
    if method := _own_making(kind):
        base = _base(kind).__name__
        raise NotSerializable(
            f"{kind.__qualname__} has a {method}() of its own, so a worker, which makes the mail "
            f"with Django's {base}, would send another one. Send it past the queue, with a "
            "connection of its own, or write a job that makes and sends it."
        )
    made = message.message()
    alternatives = getattr(message, "alternatives", None)
    return {
        "subject": str(message.subject),
        "body": _text(message.body),
        "from_email": str(message.from_email),
        "to": _texts(message.to),
        "cc": _texts(message.cc),
        "bcc": _texts(message.bcc),
        "reply_to": _texts(message.reply_to),
        "headers": {
            str(name): value if type(value) in _PLAIN else str(value)
            for name, value in message.extra_headers.items()
        },
        "alternatives": None
        if alternatives is None
        else [_content(None, content, mimetype) for content, mimetype in alternatives],
        "attachments": list(map(_attachment, message.attachments)),
        "attributes": _attributes(message),
        "message_id": str(made["Message-ID"]),
        "date": str(made["Date"]),
    }


@lru_cache(maxsize=64)
def _own_making(kind: Any) -> str | None:
    """Return a method with which the class `kind` makes its mails in a way of its own, if any."""
    base = _base(kind)
    for name in dir(base):
        if name in _MAKES_NOTHING or name.startswith("__") or not callable(getattr(base, name)):
            continue
        if getattr(kind, name) is not getattr(base, name):
            return name
    return None


def _base(kind: type[EmailMessage]) -> type[EmailMessage]:
    return EmailMultiAlternatives if issubclass(kind, EmailMultiAlternatives) else EmailMessage


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _texts(values: Iterable[object]) -> list[str]:
    return list(map(str, values))


def _attachment(attachment: Any) -> Content | Part:
    if isinstance(attachment, Message):
        return Part(attachment.as_bytes(), isinstance(attachment, MIMEPart))
    filename, content, mimetype = (*attachment, None)[:3]
    return _content(filename, content, mimetype)


def _content(filename: object, content: Any, mimetype: object) -> Content:
    if isinstance(content, EmailMessage):
        content = content.message()
    if isinstance(content, Message):
        content = content.as_bytes()
    elif not isinstance(content, (str, bytes)):
        content = bytes(content) if isinstance(content, (bytearray, memoryview)) else str(content)
    return Content(
        None if filename is None else str(filename),
        content,
        None if mimetype is None else str(mimetype),
    )


def _attributes(message: EmailMessage) -> dict[str, Any]:
    """Return what else was set on a message, for backends that read it: ``tags`` of
    django-anymail. A class among them is no data but a mark that nothing was set.
    """
    base = _base(type(message))
    found = {
        name: getattr(message, name)
        for name in _OF_CLASSES
        if getattr(message, name, None) != getattr(base, name, None)
    }
    others = vars(message).keys() - _CARRIED - _LEFT_BEHIND
    own = {name: value for name, value in vars(message).items() if name in others}
    return found | {name: value for name, value in own.items() if not isinstance(value, type)}


# -- the message again -----------------------------------------------------------------------------


def message_of(stored: Any, headers: Mapping[str, Any]) -> EmailMessage:
    """Return the message of `stored`, a `QueuedMail`, with `headers`."""
    kind = EmailMessage if stored.alternatives is None else EmailMultiAlternatives
    message = kind(
        subject=stored.subject,
        body=stored.body,
        from_email=stored.from_email,
        to=stored.to,
        bcc=stored.bcc,
        headers=dict(headers),
        cc=stored.cc,
        reply_to=stored.reply_to,
    )
    message.attachments = list(map(_restored, stored.attachments))
    if isinstance(message, EmailMultiAlternatives):
        message.alternatives = [
            EmailAlternative(each.content, each.mimetype) for each in stored.alternatives
        ]
    for name, value in stored.attributes.items():
        setattr(message, name, value)
    return message


class _ParsedPart(MIMEBase):
    """A part of Python's older email interface, as Django knows them, whose headers come from what
    is parsed.
    """

    def __init__(self, policy: Any = email.policy.compat32) -> None:
        Message.__init__(self, policy=policy)


def _restored(stored: Content | Part) -> Any:
    if isinstance(stored, Content):
        # The type stubs do not know that there may be no name.
        return EmailAttachment(stored.filename, stored.content, stored.mimetype)  # type: ignore[arg-type]
    if stored.is_modern:
        parser: Any = BytesParser  # its stubs know no other class than EmailMessage here
        return parser(MIMEPart, policy=email.policy.default).parsebytes(stored.data)
    return BytesParser(_ParsedPart, policy=email.policy.compat32).parsebytes(stored.data)
