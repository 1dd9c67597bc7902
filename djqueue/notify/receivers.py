"""Those in ``DJQUEUE["NOTIFY"]``: ``mail``, URLs, and functions of the project."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Iterable
from typing import NamedTuple

from django.core.mail import mail_admins
from django.utils.module_loading import import_string

from djqueue.mail.real import past_the_queue
from djqueue.operations.words import in_english, number_of, span
from djqueue.text.masking import masked_text

__all__ = ["MAIL", "Message", "is_url", "send"]

logger = logging.getLogger("djqueue.worker")

MAIL = "mail"
PATIENCE = 10.0
"""Seconds that a webhook may take to answer."""


class Message(NamedTuple):
    """What has begun, and what is right again."""

    problems: tuple[str, ...]
    resolved: tuple[tuple[str, float], ...] = ()
    """What was wrong, and for how many seconds."""

    @property
    def subject(self) -> str:
        """Return one line that says how many there are of each."""
        said = []
        if self.problems:
            said.append(number_of(len(self.problems), "problem"))
        if self.resolved:
            said.append(f"{len(self.resolved)} resolved")
        return f"djqueue: {', '.join(said)}"

    @property
    def text(self) -> str:
        """Return all of it, a line each."""
        lines = [f"PROBLEM: {text}" for text in self.problems]
        with in_english():
            lines += [f"RESOLVED after {span(seconds)}: {text}" for text, seconds in self.resolved]
        return masked_text("\n\n".join(lines))


def is_url(receiver: str) -> bool:
    """Return whether `receiver` is a webhook."""
    return receiver.startswith(("http://", "https://"))


def send(message: Message, receivers: Iterable[str]) -> bool:
    """Send `message` to all. Return whether one of them has it; what the others raise is logged."""
    arrived = False
    for receiver in receivers:
        try:
            _send(message, receiver)
            arrived = True
        except Exception as error:  # noqa: BLE001 - mail backends, servers and functions of projects
            shown = "a webhook" if is_url(receiver) else receiver  # a URL may hold a secret
            logger.warning(
                'DJQUEUE["NOTIFY"]: %s could not be reached: %s: %s',
                shown,
                type(error).__name__,
                masked_text(str(error)),
            )
    return arrived


def _send(message: Message, receiver: str) -> None:
    if receiver == MAIL:
        mail_admins(message.subject, message.text, **past_the_queue())
    elif is_url(receiver):
        body = {
            "text": f"{message.subject}\n{message.text}",
            "problems": message.problems,
            "resolved": [text for text, _ in message.resolved],
        }
        request = urllib.request.Request(  # noqa: S310 - http and https only
            receiver, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310 - as above
            pass
    else:
        import_string(receiver)(message)
