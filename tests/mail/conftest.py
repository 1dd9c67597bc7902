"""A mail server that refuses whom it is told to refuse, and a project whose mails are queued."""

from __future__ import annotations

import email
import email.policy

import django
import pytest
from aiosmtpd.controller import Controller

from tests.services.server import free_port

SMTP = "django.core.mail.backends.smtp.EmailBackend"
LOCMEM = "django.core.mail.backends.locmem.EmailBackend"
QUEUED = "djqueue.mail.QueuedEmailBackend"


class Server:
    """Keeps the mails that it takes, and answers as `refuses` and `answer` say."""

    def __init__(self):
        self.envelopes = []
        self.refuses = {}
        """Recipients, and what each is refused with."""
        self.answer = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answer.startswith("2"):
            self.envelopes.append(envelope)
        return self.answer

    @property
    def mails(self):
        """The mails, as a program that reads mail sees them."""
        read = email.message_from_bytes
        return [read(each.content, policy=email.policy.default) for each in self.envelopes]

    @property
    def recipients(self):
        return [each.rcpt_tos for each in self.envelopes]


@pytest.fixture
def server():
    box = Server()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


def queue_mails(settings, backend, **options):
    """Let the project queue its mails, and send them with `backend`."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {
            "default": {"BACKEND": QUEUED, "OPTIONS": {"mailer": "real"}},
            "real": {"BACKEND": backend, "OPTIONS": options},
        }
    else:
        settings.EMAIL_BACKEND = QUEUED
        for name, value in options.items():
            setattr(settings, f"EMAIL_{name.upper()}", value)
    settings.DJQUEUE = {**getattr(settings, "DJQUEUE", {}), "MAIL": {"BACKEND": backend}}


@pytest.fixture
def smtp(settings, server):
    queue_mails(settings, SMTP, host="127.0.0.1", port=server.port)
    return server


@pytest.fixture
def outbox(settings, mailoutbox):
    queue_mails(settings, LOCMEM)
    return mailoutbox
