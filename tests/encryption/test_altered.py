"""What somebody may do who can write to a store, and has no key."""

from __future__ import annotations

import contextvars
import json
import logging
import zlib
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from djqueue import chain, context, dispatch, job
from djqueue.errors import InvalidPayload, PayloadError
from djqueue.jobs import registry
from djqueue.models import FailedJob, JobResult, QueuedJob
from djqueue.operations.describe import show
from djqueue.operations.verbs import running
from djqueue.operations.verbs.editing import edited
from djqueue.payload.keyring import keyring
from djqueue.payload.payload import decode, limits_of
from djqueue.payload.store import unpacked
from djqueue.runner.current import CurrentJob
from djqueue.runner.telling import _enter
from djqueue.testing import work
from tests.admin.support import FAILED, client
from tests.app import jobs, secret
from tests.encryption.seen import MARK, reveals, tables

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]


def alter(row, change):
    """Change the payload in a row, as with SQL."""
    data = json.loads(row.payload)
    change(data)
    row.payload = json.dumps(data, separators=(",", ":"))
    row.save()


def without_flag(data):
    data["options"].pop("encrypted")


def plain(data):
    data.pop("packed")
    data["arguments"] = {"text": "forged"}


LARGE = MARK + "".join(map(str, range(40_000)))


@pytest.mark.parametrize("text", [MARK, LARGE])
@pytest.mark.parametrize("of", [secret.keeps_secret, secret.FailsWithSecret])
def test_a_token_is_not_decrypted_when_the_options_do_not_say_so(
    of, text, settings, plain_ledger, caplog
):
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "STORE_ABOVE": 4_000}}}
    with context.scope(note=MARK):
        (of.bind(text) if of is secret.keeps_secret else of(text)).dispatch()
    alter(QueuedJob.objects.get(), without_flag)
    work(delayed=True)
    row = FailedJob.objects.get()
    assert row.exception_class == "djqueue.errors.InvalidPayload"
    assert JobResult.objects.get().value is None
    assert not reveals(caplog.text)
    assert not any(reveals(value) for _, value in tables("default"))
    assert not plain_ledger.lines()


def test_an_encrypted_context_is_not_decrypted_for_a_plain_job(own_jobs, settings):
    """Also where the token was made for a job of that name, whose class was encrypted."""
    seen = []

    @job(name="altered.plain", encrypted=True)
    def before():
        pass

    with context.scope(note=MARK):
        before.dispatch()
    token = json.loads(QueuedJob.objects.get().payload)["context"]
    QueuedJob.objects.all().delete()
    registry.unregister("altered.plain")

    @job(name="altered.plain", tries=1)
    def reads():
        seen.append(context.get("note"))

    reads.dispatch()

    def give(data):
        arguments = data.pop("arguments")
        data.update(context=token, arguments=arguments)

    alter(QueuedJob.objects.get(), give)
    work()
    assert FailedJob.objects.get().exception_class == "djqueue.errors.InvalidPayload"
    assert seen == []


def test_a_context_goes_with_its_arguments(plain_ledger):
    """That of another job of the class, none, and a plain one are refused."""
    with context.scope(note="a"):
        secret.keeps_secret.dispatch(MARK)
    with context.scope(note="b"):
        secret.keeps_secret.dispatch(MARK)
    secret.keeps_secret.dispatch(MARK)
    first, second, third = QueuedJob.objects.order_by("id")
    other = json.loads(second.payload)["context"]
    forged = {"values": {"note": "forged"}}
    for row, given in ((first, other), (second, None), (third, forged)):
        data = json.loads(row.payload)
        data.pop("context", None)
        arguments, packed = data.pop("arguments"), data.pop("packed")
        more = {} if given is None else {"context": given}
        row.payload = json.dumps({**data, **more, "packed": packed, "arguments": arguments})
        with pytest.raises(InvalidPayload):
            unpacked(decode(row.payload))
        row.save()
    work()
    assert FailedJob.objects.count() == 3
    assert not plain_ledger.lines()


def test_a_failed_row_without_its_flag_is_not_shown_edited_or_set(plain_ledger):
    sent = secret.FailsWithSecret(MARK).dispatch()
    work(delayed=True)
    row = FailedJob.objects.get()
    alter(row, without_flag)
    with pytest.raises(InvalidPayload, match="do not say so"):
        edited(row, {"text": "x"})
    browser = client("retry_failedjob", "view_payload", "edit_payload")
    for page in ("edit-and-retry", "change"):
        answer = browser.get(f"{FAILED}{row.pk}/{page}/", follow=True)
        assert answer.status_code == 200
        assert not reveals(answer.content)
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("queue_retry", sent.id, "--set", "text=x", stdout=out, stderr=out)
    assert not reveals(out.getvalue())
    assert not reveals(show(sent.id))
    with pytest.raises(InvalidPayload):
        running.copy(running.find(sent.id))


@pytest.mark.parametrize("forge", [plain, lambda data: (plain(data), without_flag(data))])
def test_plain_arguments_of_an_encrypted_job_are_refused(forge, plain_ledger):
    secret.keeps_secret.dispatch(MARK)
    alter(QueuedJob.objects.get(), forge)
    work()
    assert FailedJob.objects.get().exception_class == "djqueue.errors.InvalidPayload"
    assert not plain_ledger.lines()


def test_compressed_arguments_are_no_token(plain_ledger, own_jobs, settings):
    sent = secret.keeps_secret.dispatch(MARK)
    text = QueuedJob.objects.get(uuid=sent.id).payload
    with pytest.raises(PayloadError, match="they are not"):
        unpacked(decode(text.replace('"packed":"encrypted"', '"packed":"zlib"')))


def test_a_plain_result_of_an_encrypted_job_is_refused(settings, plain_ledger):
    sent = secret.keeps_secret.dispatch(MARK)
    work()
    JobResult.objects.update(value='"forged"')
    with pytest.raises(InvalidPayload, match="is not encrypted"):
        sent.result()
    settings.DJQUEUE = {"ENCRYPTION_ACCEPTS_PLAIN": True}
    assert sent.result() == "forged"


def test_a_plain_value_of_the_encrypted_step_before_is_refused(plain_ledger):
    chain([secret.keeps_secret.bind(MARK), secret.follows_secret.bind()]).dispatch()
    work(max_jobs=1)
    alter(QueuedJob.objects.get(), lambda data: data["links"]["previous"].update(value="forged"))
    work()
    row = FailedJob.objects.get()
    assert (row.name, row.exception_class) == (
        "app.follows_secret",
        "djqueue.errors.InvalidPayload",
    )


def test_jobs_from_before_their_class_was_encrypted(settings, plain_ledger, own_jobs):
    """They fail, and a copy is encrypted; or the settings accept them for a while."""

    @job(name="app.keeps_secret_before", store_result=True)
    def before(text: str) -> str:
        return text

    first, second = dispatch(before.bind("open")), dispatch(before.bind("open"))
    for row in QueuedJob.objects.all():
        row.payload = row.payload.replace("app.keeps_secret_before", "app.keeps_secret")
        row.name = "app.keeps_secret"
        row.save()
    settings.DJQUEUE = {"ENCRYPTION_ACCEPTS_PLAIN": True}
    assert work(max_jobs=1) == 1
    settings.DJQUEUE = {}
    work()
    row = FailedJob.objects.get()
    assert "queue_run ID --copy" in row.exception_message
    assert str(row.uuid) in (first.id, second.id)
    copy = running.copy(running.find(str(row.uuid)))
    assert limits_of(QueuedJob.objects.get().payload).encrypted
    work()
    assert copy.result() == "open"


def test_a_result_is_not_shown_to_another_owner(settings, plain_ledger):
    eve, ada = User.objects.create_user("eve"), User.objects.create_user("ada")
    with context.scope(user_id=ada.pk):
        sent = secret.keeps_secret.dispatch(MARK)
    work()
    browser = Client()
    browser.force_login(ada)
    assert browser.get(f"/jobs/{sent.id}/").json()["value"] == MARK
    JobResult.objects.update(owner=str(eve.pk))
    browser.force_login(eve)
    answer = browser.get(f"/jobs/{sent.id}/").json()
    assert answer["value"] is None
    assert answer["error"] == "The value cannot be read."
    assert sent.result() == MARK


def with_hidden(token):
    """Dispatch a plain job, and put `token` in the place of its hidden values."""
    jobs.nothing.dispatch()

    def give(data):
        data["context"], data["arguments"] = {"hidden": token}, data.pop("arguments")

    alter(QueuedJob.objects.get(), give)


def test_hidden_values_that_are_another_token_fail_the_job_alone(plain_ledger):
    secret.keeps_secret.dispatch(MARK)
    token = json.loads(QueuedJob.objects.get().payload)["arguments"]
    QueuedJob.objects.all().delete()
    with_hidden(token)
    jobs.nothing.dispatch()
    assert work() == 2
    assert FailedJob.objects.get().exception_class == "djqueue.errors.InvalidPayload"


@pytest.mark.parametrize("data", [b"\xff", b"text", zlib.compress(b"text")])
def test_hidden_values_that_are_no_text_fail_the_job_alone(data, plain_ledger):
    with_hidden(keyring().encrypt(data))
    assert work() == 1
    assert FailedJob.objects.get().exception_class == "djqueue.errors.InvalidPayload"


def test_what_tells_of_a_job_bears_a_context_that_is_no_json():
    job = CurrentJob("1", "x", "default", "database", 1)
    contextvars.copy_context().run(_enter, job, "{")


def test_log_records_have_no_context_of_encrypted_jobs_nor_do_jobs_they_dispatch(own_jobs, caplog):
    seen, records = [], []

    @job(name="altered.open")
    def reads():
        seen.append((context.values(), context.get("note")))

    @job(name="altered.hides", encrypted=True)
    def dispatches():
        record = logging.makeLogRecord({})
        context.JobFilter().filter(record)
        records.append(record.context)
        seen.append((context.values(), context.get("note")))
        reads.dispatch()

    with context.scope(note=MARK, user_id=7, hidden={"pin": MARK}):
        dispatches.dispatch()
    work(max_jobs=1)
    assert not any(reveals(value) for _, value in tables("default"))
    work()
    assert seen == [({"user_id": 7}, MARK)] * 2
    assert records == [{"user_id": 7}]
