"""What is carried of a message, and what is refused at once."""

from __future__ import annotations

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from django.utils.translation import gettext_lazy

from djqueue.checks.mail import check_mail
from djqueue.errors import NotSerializable, QueueUnavailable
from djqueue.mail import QueuedEmailBackend, QueuedMail
from djqueue.mail.real import past_the_queue
from djqueue.models import QueuedJob
from djqueue.testing import fake_queue, work
from tests.mail.conftest import LOCMEM, QUEUED

ADA = "ada@example.com"
pytestmark = pytest.mark.django_db


class Own(EmailMessage):
    def message(self, **given):
        return super().message(**given)


class Tagged(EmailMultiAlternatives):
    content_subtype = "html"
    UNSET = type("UNSET", (), {})

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.metadata = self.UNSET
        self.tags = ["welcome"]
        self.anymail_status = object()


def test_a_test_finds_the_mail_in_the_outbox(outbox):
    send_mail("Hello", "text", None, [ADA], html_message="<p>html</p>")
    assert outbox == []
    assert work(raise_errors=True) == 1
    (sent,) = mail.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert (sent.subject, sent.body, sent.to) == ("Hello", "text", [ADA])
    assert [tuple(each) for each in sent.alternatives] == [("<p>html</p>", "text/html")]
    assert sent.extra_headers == {}


def test_a_recorded_mail_is_a_job(outbox):
    with fake_queue() as queue:
        assert send_mail("Hello", "text", None, [ADA]) == 1
    queue.assert_dispatched(QueuedMail, where=lambda queued: queued.to == [ADA])


def test_attributes_that_a_backend_reads_travel(outbox):
    Tagged(gettext_lazy("Yes"), "<p>", None, [ADA]).send()
    work(raise_errors=True)
    (sent,) = outbox
    assert (sent.subject, sent.content_subtype, sent.tags) == ("Yes", "html", ["welcome"])
    assert not hasattr(sent, "metadata")
    assert not hasattr(sent, "anymail_status")


def test_a_mail_as_an_attachment_and_raw_tuples_travel(outbox):
    inner = EmailMessage("Inner", "text", None, [ADA])
    message = EmailMessage("Outer", "text", None, [ADA])
    message.attach("inner.eml", inner, "message/rfc822")
    message.attachments.append(("raw.bin", bytearray(b"\x00"), "application/x-raw"))
    message.send()
    work(raise_errors=True)
    (sent,) = outbox
    first, second = sent.attachments
    assert b"Subject: Inner" in first.content
    assert tuple(second) == ("raw.bin", b"\x00", "application/x-raw")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"subject": "two\nlines"}, ValueError),
        ({"headers": {"X-A": "two\r\nlines"}}, ValueError),
        ({"from_email": "two\nlines@example.com"}, ValueError),
    ],
)
def test_what_is_wrong_is_raised_at_once_and_nothing_is_queued(outbox, wrong, error):
    good = EmailMessage("Hello", "", None, [ADA])
    bad = EmailMessage(**{"subject": "Hello", "to": [ADA], **wrong})
    with pytest.raises(error):
        QueuedEmailBackend().send_messages([good, bad])
    assert not QueuedJob.objects.exists()


def test_an_address_that_smtp_cannot_send_to_is_refused_at_once(smtp):
    with pytest.raises(ValueError, match="nvalid address"):
        EmailMessage("Hello", "", None, [ADA], bcc=["two@example.com, three@example.com"]).send()


def test_without_recipients_nothing_is_queued(outbox):
    assert QueuedEmailBackend().send_messages([EmailMessage("Hello")]) == 0
    assert not QueuedJob.objects.exists()


def test_a_class_that_makes_its_mails_itself_is_refused(outbox):
    with pytest.raises(NotSerializable, match=r"Own has a message\(\) of its own"):
        Own("Hello", "", None, [ADA]).send()


def test_an_attribute_that_cannot_be_stored_is_named(outbox):
    message = EmailMessage("Hello", "", None, [ADA])
    message.template = object()
    with pytest.raises(NotSerializable, match=r"attributes\[.template.\]"):
        message.send()


def test_passwords_of_one_call_are_not_queued():
    with pytest.raises(NotSerializable, match="password"):
        QueuedEmailBackend(username="shop", password="secret")


def test_a_store_that_is_away_is_silent_only_where_asked(outbox, monkeypatch):
    def away(jobs):
        raise QueueUnavailable("away")

    monkeypatch.setattr("djqueue.mail.backend.dispatch_many", away)
    messages = [EmailMessage("Hello", "", None, [ADA])]
    assert QueuedEmailBackend(fail_silently=True).send_messages(messages) == 0
    with pytest.raises(QueueUnavailable):
        QueuedEmailBackend().send_messages(messages)


def test_a_mail_about_the_queue_does_not_wait_in_it(outbox):
    mail.mail_admins("x", "y", **past_the_queue())  # ADMINS is empty: the arguments are taken
    assert past_the_queue()


# -- checks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, []),
        ({"BACKEND": LOCMEM, "CONNECTION": "database", "QUEUE": "mail"}, []),
        ({"BACKEND": "shop.nothing.Here"}, ["djqueue.E037"]),
        ({"BACKEND": QUEUED}, ["djqueue.E038"]),
        ({"CONNECTION": "nowhere", "QUEUE": "a b"}, ["djqueue.E004", "djqueue.E013"]),
    ],
)
def test_the_setting_is_checked(settings, given, ids):
    settings.DJQUEUE = {"MAIL": given}
    assert [each.id for each in check_mail()] == ids


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS is of Django 6.1")
@pytest.mark.parametrize("options", [{}, {"mailer": "default"}, {"mailer": "none"}])
def test_a_mailer_that_queues_names_one_that_sends(settings, options):
    settings.MAILERS = {"default": {"BACKEND": QUEUED, "OPTIONS": options}, "real": {}}
    assert [each.id for each in check_mail()] == ["djqueue.E038"]
