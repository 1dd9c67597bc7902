"""Mails through the queue into Django's outbox, although the test runner has replaced backends."""

import unittest

import django
import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.core.mail import send_mail
from django.test import TestCase

from djqueue import queues
from djqueue.conf import settings as djqueue_settings
from djqueue.mail import QueuedMail
from djqueue.testing import fake_queue, queued_mails, work

ADA = ["ada@example.com"]
SMTP = "django.core.mail.backends.smtp.EmailBackend"
pytestmark = [pytest.mark.anywhere, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def project(settings):
    """A project that queues its mails and sends them to a server, whose backend the test runner has
    replaced; there is no such server.
    """
    settings.DJQUEUE = {"MAIL": {"BACKEND": SMTP, "QUEUE": "mail"}}
    if django.VERSION >= (6, 1):
        locmem = {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}
        settings.MAILERS = {"default": locmem, "bulk": locmem}


def backends():
    name = "MAILERS" if django.VERSION >= (6, 1) else "EMAIL_BACKEND"
    return getattr(django_settings, name), djqueue_settings().mail


def sent(outbox):
    send_mail("Welcome", "text", None, ADA)
    assert outbox == []
    assert queues[None].size("mail") == 1
    assert work(raise_errors=True) == 1
    [only] = outbox
    return only


def test_a_mail_reaches_the_outbox_by_way_of_its_job():
    before = backends()
    with queued_mails() as outbox:
        assert outbox is mail.outbox
        assert sent(outbox).to == ADA
    assert backends() == before


def test_the_fixture_is_the_outbox(queued_mails):
    assert sent(queued_mails).subject == "Welcome"


@queued_mails()
def test_a_decorated_test_is_given_the_outbox(queued_mails):
    assert sent(queued_mails).subject == "Welcome"


def test_each_test_of_a_class_is_decorated():
    @queued_mails
    class Tests(TestCase):
        def test_one(self, outbox):
            sent(outbox)

        def test_another(self, outbox):
            sent(outbox)

    tests = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
    result = unittest.TestResult()
    Tests.databases = {"default"}
    tests.run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])


def test_a_mail_may_be_recorded_as_well(mailoutbox):
    with queued_mails(), fake_queue() as queue:
        send_mail("Welcome", "text", None, ADA)
    queue.assert_dispatched(QueuedMail, times=1, where=lambda queued: queued.to == ADA)
    assert mailoutbox == []


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS is new in Django 6.1")
def test_other_mailers_stay_as_they_are():
    with queued_mails() as outbox:
        send_mail("Welcome", "text", None, ADA, using="bulk")
        assert len(outbox) == 1


def test_it_works_without_a_test_runner(monkeypatch):
    monkeypatch.delattr(mail, "outbox")
    with queued_mails() as outbox:
        sent(outbox)
