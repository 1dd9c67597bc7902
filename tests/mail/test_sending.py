"""Queued mails reach a real mail server once, and what it refuses is not tried for ever."""

from __future__ import annotations

import os
import smtplib
from email.mime.image import MIMEImage

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail, send_mass_mail
from django.db import transaction

from djqueue.errors import MailRefused
from djqueue.models import FailedJob, QueuedJob
from djqueue.testing import work
from tests.worker import stores

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
MEGABYTE = 2**20


@pytest.mark.django_db
def test_a_mail_is_sent_by_a_job(smtp):
    assert send_mail("Hello", "A text.", "shop@example.com", [ADA]) == 1
    assert smtp.envelopes == []
    assert work(raise_errors=True) == 1
    (mail,) = smtp.mails
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hello", "shop@example.com", ADA)
    assert mail.get_content().strip() == "A text."


@pytest.mark.django_db
def test_every_part_of_a_mail_arrives(smtp):
    message = EmailMultiAlternatives(
        "Grüße",
        "plain ä",
        "Shop <shop@example.com>",
        [f"Ada <{ADA}>"],
        bcc=[EVE],
        cc=[BOB],
        reply_to=["answers@example.com"],
        headers={"X-Order": "42", "Message-ID": "<42@example.com>"},
    )
    message.attach_alternative("<p>html <img src=cid:logo></p>", "text/html")
    message.attach("invoice.pdf", b"%PDF \x00\xff\r\n", "application/pdf")
    message.attach("notes.txt", "text ö", "text/plain")
    image = MIMEImage(b"\x89PNG\r\n\x00", "png")
    image["Content-ID"] = "<logo>"
    message.attachments.append(image)
    message.send()
    work(raise_errors=True)
    (mail,) = smtp.mails
    assert smtp.recipients == [[ADA, BOB, EVE]]
    assert (mail["Subject"], mail["Cc"], mail["Bcc"]) == ("Grüße", BOB, None)
    assert (mail["Reply-To"], mail["X-Order"]) == ("answers@example.com", "42")
    assert mail["Message-ID"] == "<42@example.com>"
    assert mail.get_body(("plain",)).get_content().strip() == "plain ä"
    assert "html" in mail.get_body(("html",)).get_content()
    parts = {each.get_filename() or each["Content-ID"]: each for each in mail.iter_attachments()}
    assert parts["invoice.pdf"].get_content() == b"%PDF \x00\xff\r\n"
    assert parts["notes.txt"].get_content().strip() == "text ö"
    assert parts["<logo>"].get_content() == b"\x89PNG\r\n\x00"


@pytest.mark.django_db
def test_a_mass_mail_is_one_push(smtp, django_assert_max_num_queries):
    mails = [(f"Number {n}", "A text.", None, [ADA]) for n in range(6)]
    with django_assert_max_num_queries(4):
        assert send_mass_mail(mails) == 6
    assert QueuedJob.objects.filter(name="djqueue.mail").count() == 6
    assert work(raise_errors=True) == 6
    assert len({mail["Subject"] for mail in smtp.mails}) == 6


@pytest.mark.django_db
def test_connection_and_queue_are_those_of_the_setting(smtp, settings):
    settings.DJQUEUE = {"MAIL": {**settings.DJQUEUE["MAIL"], "QUEUE": "post"}}
    send_mail("Hello", "", None, [ADA])
    assert QueuedJob.objects.get().queue == "post"


@pytest.mark.django_db(transaction=True)
def test_a_rollback_sends_nothing(smtp):
    with transaction.atomic():
        send_mail("Hello", "", None, [ADA])
        transaction.set_rollback(True)
    assert work() == 0
    assert smtp.envelopes == []


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_refused_recipients_are_named_and_not_tried_again(smtp):
    smtp.refuses[ADA] = "550 5.1.1 No such user"
    send_mail("Hello", "", None, [ADA])
    assert work(delayed=True) == 1
    failed = FailedJob.objects.get()
    assert failed.exception_class.endswith("MailRefused")
    assert f"{ADA} (550 5.1.1 No such user)" in failed.exception_message


@pytest.mark.django_db
@pytest.mark.parametrize("answer", ["552 Too large", "451 Try later"])
def test_a_mail_that_is_refused_is_tried_again_only_where_the_server_says_so(smtp, answer):
    smtp.answer = answer
    send_mail("Hello", "", None, [ADA])
    kind = MailRefused if answer.startswith("5") else smtplib.SMTPDataError
    with pytest.raises(kind):
        work(raise_errors=True)
    waiting = list(QueuedJob.objects.all())
    assert len(waiting) == (kind is not MailRefused)
    if waiting:
        smtp.answer = "250 OK"
        work(delayed=True, raise_errors=True)
        assert len(smtp.envelopes) == 1
    else:
        assert ADA in FailedJob.objects.get().exception_message


@pytest.mark.django_db
def test_a_server_that_is_away_is_tried_again(smtp, settings, server):
    smtp.refuses[ADA] = "450 Greylisted"
    send_mail("Hello", "", None, [ADA])
    work()
    assert not FailedJob.objects.exists()
    smtp.refuses.clear()
    work(delayed=True, raise_errors=True)
    assert smtp.recipients == [[ADA]]


@pytest.mark.django_db
def test_those_who_were_taken_get_it_once_and_the_others_have_a_mail_of_their_own(smtp):
    smtp.refuses[BOB] = "450 Greylisted"
    smtp.refuses[EVE] = "550 No such user"
    EmailMessage("Hello", "", "shop@example.com", [ADA, BOB], cc=[EVE]).send()
    assert work(raise_errors=True) == 1
    del smtp.refuses[BOB]
    work(delayed=True)
    work(delayed=True)
    assert smtp.recipients == [[ADA], [BOB]]
    first, second = smtp.mails
    assert first["To"] == second["To"] == f"{ADA}, {BOB}"
    assert first["Cc"] == second["Cc"] == EVE
    assert first["Message-ID"] == second["Message-ID"]
    assert EVE in FailedJob.objects.get().exception_message


# -- large mails, and other stores -----------------------------------------------------------------


def _sends_a_megabyte(smtp):
    data = os.urandom(MEGABYTE)
    message = EmailMessage("Large", "See the file.", None, [ADA])
    message.attach("data.bin", data, "application/octet-stream")
    assert message.send() == 1
    assert work(raise_errors=True) == 1
    (mail,) = smtp.mails
    (part,) = mail.iter_attachments()
    assert part.get_content() == data


@pytest.mark.django_db
def test_a_megabyte_arrives_byte_for_byte(smtp):
    _sends_a_megabyte(smtp)


@pytest.mark.scenario
@pytest.mark.anywhere
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "store",
    [pytest.param("redis", marks=pytest.mark.redis), pytest.param("sqs", marks=pytest.mark.sqs)],
)
def test_a_megabyte_arrives_by_way_of_other_stores(store, smtp, settings, request):
    settings.DJQUEUE = {**settings.DJQUEUE, **stores.settings_of(store, request)}
    _sends_a_megabyte(smtp)
