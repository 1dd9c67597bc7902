"""A real SMTP server, and mails of `NOTIFY` that go to it."""

from __future__ import annotations

import django
import pytest
from aiosmtpd.controller import Controller

from tests.services.server import free_port


class Mailbox:
    """Keeps the mails that it is sent."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(envelope.content.decode())
        return "250 OK"


@pytest.fixture
def mails(settings):
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": server.port}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND = backend
        settings.EMAIL_HOST = "127.0.0.1"
        settings.EMAIL_PORT = server.port
    named = django.VERSION < (6, 0)
    settings.ADMINS = [("Ada", "ada@example.com") if named else "ada@example.com"]
    settings.DJQUEUE = {"NOTIFY": ["mail"]}
    yield box.mails
    server.stop()
