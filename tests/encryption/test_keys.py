"""Keys of encrypted jobs: rotation, keys and packages that are missing, and altered tokens."""

from __future__ import annotations

import base64
import builtins
import json
import pickle
import random
import string
import subprocess
import sys
import zlib
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from djqueue import Job, chain, context, dispatch, dispatch_sync
from djqueue.admin.lists.search import Wanted
from djqueue.admin.lists.terms import OF_JOBS, Search
from djqueue.checks.jobs import check_jobs
from djqueue.drivers.base import Reservation
from djqueue.errors import (
    InvalidPayload,
    MissingPackage,
    NotSerializable,
    PayloadError,
    Undecryptable,
)
from djqueue.models import FailedJob, JobResult, Payload, QueuedJob
from djqueue.operations.describe import show
from djqueue.operations.retrying import retry
from djqueue.operations.verbs.editing import edited
from djqueue.payload.keyring import Keyring, hidden_key, keyring
from djqueue.payload.payload import decode, limits_of
from djqueue.payload.store import unpacked
from djqueue.runner.decision import Action, Ending
from djqueue.runner.encrypted.errors import public_error
from djqueue.runner.rules import Rules
from djqueue.testing import work
from tests.app import jobs, secret
from tests.encryption.seen import MARK
from tests.runner.test_runner import run_held

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def without_package(monkeypatch):
    """A process without cryptography."""

    def apply():
        monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
        monkeypatch.setattr("djqueue.payload.keyring._made", Keyring)

    return apply


def keys(settings, *given):
    settings.DJQUEUE = {"ENCRYPTION_KEYS": list(given)}


def held(id, name=None, payload=None):
    row = QueuedJob.objects.get(uuid=id)
    text = payload or row.payload
    return Reservation(id, row.queue, name or row.name, text, 1, 0, "", None)


# -- rotation --------------------------------------------------------------------------------------


def test_all_keys_decrypt_and_the_first_encrypts(settings, plain_ledger):
    keys(settings, OLD)
    done = secret.keeps_secret.dispatch(MARK)
    work()
    before = secret.keeps_secret.dispatch(MARK)
    keys(settings, NEW, OLD)
    after = secret.keeps_secret.dispatch(MARK)
    assert work() == 2
    assert done.result() == before.result() == after.result() == MARK
    keys(settings, NEW)
    assert before.result() == after.result() == MARK
    with pytest.raises(Undecryptable, match="ENCRYPTION_KEYS"):
        done.result()


def test_keys_are_made_from_the_secret_key(settings, plain_ledger):
    secret_key = settings.SECRET_KEY
    sent = secret.keeps_secret.dispatch(MARK)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [secret_key]
    work()
    assert sent.result() == MARK


def test_what_was_encrypted_before_there_were_keys_is_still_decrypted(settings, plain_ledger):
    """Jobs, hidden values and results: the first `ENCRYPTION_KEYS` take nothing away."""
    settings.DJQUEUE = {}
    done = secret.keeps_secret.dispatch(MARK)
    work()
    with context.scope(hidden={"pin": MARK}):
        sent = secret.keeps_secret.dispatch(MARK)
        jobs.nothing.dispatch()
    keys(settings, NEW)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [settings.SECRET_KEY]
    assert work() == 2
    assert not FailedJob.objects.exists()
    assert done.result() == sent.result() == MARK


def test_a_key_that_is_gone_is_a_failed_row_and_nothing_is_lost(settings, plain_ledger):
    keys(settings, OLD)
    sent = secret.keeps_secret.dispatch(MARK)
    keys(settings, NEW)
    work()
    row = FailedJob.objects.get()
    assert row.exception_class == "djqueue.errors.Undecryptable"
    assert "Put the former key back" in row.exception_message
    assert "ENCRYPTION_KEYS" in show(sent.id)["exception"]
    assert retry().moved == 1
    work()
    assert FailedJob.objects.exists()
    keys(settings, NEW, OLD)
    assert retry().moved == 1
    work()
    assert sent.result() == MARK
    assert not FailedJob.objects.exists()


def test_a_job_waits_for_a_worker_that_has_its_key(settings):
    keys(settings, OLD)
    sent = secret.keeps_secret.dispatch(MARK)
    keys(settings, NEW)
    outcome = run_held(held(sent.id), Rules(unknown_grace=600)).outcome
    assert (outcome.ending, outcome.decision.action) == (Ending.UNKNOWN, Action.RETRY)
    assert not outcome.charged
    assert "Put the former key back" in outcome.history
    assert "Undecryptable" in outcome.error.class_name


def test_the_keys_of_unique_jobs_stay_when_keys_are_changed(settings):
    keys(settings, OLD)
    before = hidden_key("order 7")
    assert "order" not in before
    assert hidden_key("order 8") != before
    for given in ([OLD, NEW], [NEW, OLD], [NEW], []):
        keys(settings, *given)
        assert hidden_key("order 7") == before
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [settings.SECRET_KEY]
    assert hidden_key("order 7") == before
    settings.SECRET_KEY_FALLBACKS = []
    assert hidden_key("order 7") != before


# -- what is missing -------------------------------------------------------------------------------


def test_a_worker_without_the_package_burns_no_job(without_package, plain_ledger):
    sent = secret.keeps_secret.dispatch(MARK)
    without_package()
    outcome = run_held(held(sent.id), Rules(unknown_grace=600)).outcome
    assert (outcome.decision.action, outcome.charged) == (Action.RETRY, False)
    assert 'pip install "djqueue[encryption]"' in outcome.error.message


@pytest.mark.parametrize("missing", ["key", "package"])
def test_a_job_with_hidden_values_waits_for_a_worker_that_has_their_key(
    missing, settings, without_package
):
    keys(settings, OLD)
    with context.scope(hidden={"pin": MARK}):
        sent = jobs.nothing.dispatch()
    keys(settings, NEW)
    if missing == "package":
        without_package()
    outcome = run_held(held(sent.id), Rules(unknown_grace=600)).outcome
    assert (outcome.ending, outcome.decision.action) == (Ending.UNKNOWN, Action.RETRY)
    assert not outcome.charged


def test_a_step_waits_for_a_worker_that_reads_the_step_before(settings, plain_ledger):
    keys(settings, OLD)
    chain([secret.keeps_secret.bind(MARK), secret.reads_secret.bind()]).dispatch()
    work(max_jobs=1)
    keys(settings, NEW)
    work()
    row = FailedJob.objects.get()  # work() gives no time for other workers
    assert (row.name, row.exception_class) == ("app.reads_secret", "djqueue.errors.Undecryptable")
    keys(settings, NEW, OLD)
    assert retry().moved == 1
    assert work() == 1
    assert not FailedJob.objects.exists()


def test_a_dispatch_without_the_package_is_refused(without_package):
    without_package()
    with pytest.raises(MissingPackage, match=r"pip install .djqueue\[encryption\]"):
        secret.keeps_secret.dispatch(MARK)
    assert not QueuedJob.objects.exists()
    assert not JobResult.objects.exists()


def test_encrypted_jobs_without_the_package_are_an_error_of_the_checks(monkeypatch):
    assert [found for found in check_jobs() if found.id == "djqueue.E006"] == []
    monkeypatch.setattr("djqueue.checks.jobs.find_spec", lambda name: None)
    (found,) = [found for found in check_jobs() if found.id == "djqueue.E006"]
    assert "app." in found.msg
    assert "djqueue[encryption]" in found.hint


def test_a_process_without_encrypted_jobs_does_not_load_the_package():
    code = (
        "import sys, django; from django.conf import settings;"
        "settings.configure(INSTALLED_APPS=['django.contrib.contenttypes', 'djqueue'],"
        " SECRET_KEY='x' * 50, DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3',"
        " 'NAME': ':memory:'}}, DJQUEUE={'DEFAULT': 'sync'});"
        "django.setup(); import djqueue; from djqueue import job;"
        "import os; plain = job(name='x.plain')(os.path.isabs); plain.dispatch('/');"
        "from django.core.management import call_command; call_command('check');"
        "print('cryptography' in sys.modules);"
        "hides = job(name='x.hides', encrypted=True)(os.path.isabs); hides.dispatch('/');"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[-2:] == ["False", "True"], done.stderr


# -- what is altered -------------------------------------------------------------------------------


def test_a_payload_of_another_job_is_refused():
    sent, other = secret.keeps_secret.dispatch(MARK), secret.FailsWithSecret(MARK).dispatch()
    mine, its = held(sent.id).payload, held(other.id).payload
    token = json.loads(its)["arguments"]
    forged = mine.replace(json.loads(mine)["arguments"], token)
    with pytest.raises(InvalidPayload, match="made for another job"):
        unpacked(decode(forged))
    outcome = run_held(held(sent.id, payload=forged)).outcome
    assert outcome.ending is Ending.FAILED
    assert "made for another job" in outcome.error.message
    renamed = its.replace("app.FailsWithSecret", "app.keeps_secret")
    with pytest.raises(InvalidPayload, match="made for another job"):
        unpacked(decode(renamed))


def test_a_context_of_another_job_is_refused(plain_ledger):
    with context.scope(note=MARK):
        sent, other = secret.keeps_secret.dispatch(MARK), secret.FailsWithSecret(MARK).dispatch()
    mine, its = held(sent.id).payload, held(other.id).payload
    of = [json.loads(text)["context"]["encrypted"] for text in (mine, its)]
    outcome = run_held(held(sent.id, payload=mine.replace(*of))).outcome
    assert outcome.ending is Ending.FAILED
    assert run_held(held(sent.id)).outcome.ending is Ending.RETURNED


def test_a_result_of_another_job_is_refused(plain_ledger):
    first, second = secret.keeps_secret.dispatch("a"), secret.keeps_secret.dispatch("b")
    work()
    JobResult.objects.filter(pk=first.id).update(value=JobResult.objects.get(pk=second.id).value)
    assert second.result() == "b"
    with pytest.raises(InvalidPayload, match="made for another job"):
        first.result()


@pytest.mark.parametrize("data", [b"text", zlib.compress(b"text"), zlib.compress(b"[]\n{}")])
def test_what_other_code_has_encrypted_is_refused(data):
    sent = secret.keeps_secret.dispatch(MARK)
    text = held(sent.id).payload
    token = keyring().encrypt(data)
    with pytest.raises(InvalidPayload):
        unpacked(decode(text.replace(json.loads(text)["arguments"], token)))


def _bytes_of(token):
    """What a token stands for: its last character has bits that stand for nothing."""
    try:
        return base64.urlsafe_b64decode(token)
    except ValueError:
        return token


def test_altered_payloads_are_refused_and_nothing_is_unpickled_or_imported(monkeypatch):
    """10,000 of them: characters changed, cut out, swapped and added anywhere behind the head."""

    def never(*arguments, **options):
        raise AssertionError("unpickled")

    sent = secret.keeps_secret.dispatch(MARK)
    text = held(sent.id).payload
    token = json.loads(text)["arguments"]
    assert unpacked(decode(text)).arguments == {"text": MARK}
    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "Unpickler", never)
    chance, letters = random.Random(7), string.ascii_letters + string.digits + "-_="
    refused, before = 0, set(sys.modules)
    for _ in range(10_000):
        at, to = sorted(chance.randrange(len(token)) for _ in range(2))
        instead = "".join(chance.choices(letters, k=chance.randrange(4)))
        forged = token[:at] + instead + token[to:]
        if _bytes_of(forged) == _bytes_of(token):
            continue
        with pytest.raises(PayloadError):
            unpacked(decode(text.replace(token, forged)))
        refused += 1
    assert refused > 9_900
    assert set(sys.modules) == before


# -- what operators do -----------------------------------------------------------------------------


def test_failed_gets_the_words_of_the_error_and_a_shell_can_read_them(plain_ledger):
    sent = secret.FailsWithSecret(MARK).dispatch()
    work(delayed=True)
    assert plain_ledger.count("failed ValueError True").total() == 1
    row = FailedJob.objects.get()
    assert row.exception_message == "encrypted"
    assert "secret.py" in row.exception  # where it failed is no secret
    assert MARK not in row.exception
    assert f"ValueError: no: {MARK}" in row.decrypted_exception()
    assert f"KeyError: '{MARK}'" in row.decrypted_exception()
    assert "Encrypted by djqueue" not in show(sent.id)["exception"]


def test_a_copy_and_a_retry_stay_encrypted(plain_ledger):
    sent = secret.FailsWithSecret(MARK).dispatch()
    work(delayed=True)
    call_command("queue_run", sent.id, "--copy", stdout=StringIO())
    assert retry().moved == 1
    texts = list(QueuedJob.objects.values_list("payload", flat=True))
    assert len(texts) == 2
    assert all(limits_of(text).encrypted for text in texts)
    assert all(decode(text).packed.how == "encrypted" for text in texts)


def test_what_is_encrypted_stays_so_when_the_class_is_not_any_more(plain_ledger, monkeypatch):
    sent = secret.FailsWithSecret(MARK).dispatch()
    work(delayed=True)
    spec = secret.FailsWithSecret._spec
    monkeypatch.setattr(spec, "limits", spec.limits.__class__(tries=2))
    assert retry().moved == 1
    assert limits_of(held(sent.id).payload).encrypted
    work(delayed=True)
    assert MARK not in FailedJob.objects.get().exception


def test_operators_read_that_it_is_encrypted(plain_ledger):
    with context.scope(note=MARK):
        sent = secret.keeps_secret.dispatch(MARK)
    shown = show(sent.id)
    assert shown["arguments"] == "encrypted"
    assert shown["context"] == {"encrypted": "encrypted"}
    assert shown["options"] == {"encrypted": True}
    assert "damaged" not in shown
    out = StringIO()
    call_command("queue_show", sent.id, stdout=out)
    assert "arguments: encrypted" in out.getvalue()
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    row = QueuedJob.objects.get()
    page = client.get(f"/admin/djqueue/queuedjob/{row.pk}/change/", follow=True).content.decode()
    assert "The arguments are encrypted" in page
    assert "gAAAA" not in page
    work()
    assert show(sent.id)["result"] == "encrypted"
    page = client.get(f"/admin/djqueue/jobresult/{sent.id}/change/", follow=True).content.decode()
    assert "encrypted" in page
    assert "gAAAA" not in page


def test_arguments_cannot_be_edited(plain_ledger):
    secret.FailsWithSecret(MARK).dispatch()
    work(delayed=True)
    row = FailedJob.objects.get()
    with pytest.raises(InvalidPayload, match="encrypted"):
        edited(row, {"text": "x"})
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    page = client.get(f"/admin/djqueue/failedjob/{row.pk}/edit-and-retry/", follow=True)
    assert page.status_code == 200
    assert "Its arguments are encrypted" in page.content.decode()


@pytest.mark.parametrize("word", ["arg:text=" + MARK, "arg:text=null", "arg:other=null"])
def test_a_search_for_an_argument_finds_none(word, plain_ledger):
    sent = secret.keeps_secret.dispatch(MARK)
    wanted = Wanted(Search.read(word, OF_JOBS, values=True))
    assert not wanted.fits(find_stored(sent.id))


def find_stored(id):
    from djqueue.operations.selection import locate

    return locate(id)[1]


def test_run_here_shows_neither_value_nor_error(plain_ledger):
    sent, failing = secret.keeps_secret.dispatch(MARK), secret.FailsWithSecret(MARK).dispatch()
    out, err = StringIO(), StringIO()
    call_command("queue_run", sent.id, "--here", stdout=out, stderr=err)
    assert "Done: encrypted." in out.getvalue()
    with pytest.raises(Exception, match="It failed"):
        call_command("queue_run", failing.id, "--here", stdout=out, stderr=err)
    call_command("queue_dispatch", "app.keeps_secret", f"text={MARK}", "--sync", stdout=out)
    assert "Done: 'encrypted'" in out.getvalue()
    assert "ValueError: encrypted" in err.getvalue()
    assert MARK not in out.getvalue() + err.getvalue()


def test_the_owner_of_a_result_gets_its_value(settings, plain_ledger):
    owner = User.objects.create_user("owner")
    keys(settings, OLD)
    with context.scope(user_id=owner.pk):
        sent = secret.keeps_secret.dispatch(MARK)
        chain([secret.keeps_secret.bind(MARK), secret.follows_secret.bind()]).dispatch()
    work()
    assert set(JobResult.objects.values_list("owner", flat=True)) == {str(owner.pk)}
    client = Client()
    client.force_login(owner)
    assert client.get(f"/jobs/{sent.id}/").json()["value"] == MARK
    keys(settings, NEW)
    answer = client.get(f"/jobs/{sent.id}/").json()
    assert answer["value"] is None
    assert answer["error"] == "The value cannot be read."


def test_progress_is_kept_without_its_message(plain_ledger):
    sent = secret.keeps_secret.dispatch(MARK)
    work()
    assert sent.progress[:3] == (1, 2, 50)
    assert sent.progress.message == ""


def test_the_repr_of_a_job_shows_no_argument():
    assert repr(secret.FailsWithSecret(MARK)) == "FailsWithSecret(encrypted)"
    assert MARK not in repr(secret.keeps_secret.bind(MARK))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups and notes came with 3.11")
def test_groups_and_notes_of_exceptions_are_hidden():
    group = builtins.ExceptionGroup
    error = group(MARK, [ValueError(MARK), KeyError(MARK)])
    error.add_note(MARK)
    shown = public_error(error, hides=True)
    assert MARK not in f"{shown!r} {shown} {shown.__cause__}"
    assert "KeyError: encrypted" in str(shown.__cause__)
    assert public_error(error, hides=False) is error


def test_message_groups_are_digests(own_jobs):
    class Grouped(
        Job,
        name="secret.Grouped",
        encrypted=True,
        message_group=lambda job: job.text,
        deduplication_id="always",
    ):
        text: str

        def handle(self):
            pass

    from djqueue.dispatch.dispatch import prepare

    outgoing = prepare(Grouped(MARK), Grouped._spec).outgoing
    assert outgoing.message_group == hidden_key(MARK)
    assert outgoing.deduplication_id == "always"
    assert prepare(Grouped("b"), Grouped._spec).outgoing.message_group != outgoing.message_group


# -- sizes -----------------------------------------------------------------------------------------


def test_large_arguments_are_compressed_first(settings, plain_ledger):
    settings.DJQUEUE = {
        "CONNECTIONS": {"database": {"DRIVER": "database", "COMPRESS_ABOVE": 1_000}}
    }
    sent = secret.keeps_secret.dispatch("x" * 50_000)
    assert len(held(sent.id).payload) < 2_000
    work()
    assert sent.result() == "x" * 50_000


def test_the_payload_store_has_the_token(settings, plain_ledger):
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database", "COMPRESS_ABOVE": None, "STORE_ABOVE": 1_000}
        }
    }
    sent = secret.keeps_secret.dispatch("x" * 50_000)
    body = bytes(Payload.objects.get().body)
    assert body.startswith(b"gAAAA")
    assert decode(held(sent.id).payload).packed.how == "stored"
    assert "arguments" in show(sent.id)
    work()
    assert sent.result() == "x" * 50_000
    assert not Payload.objects.exists()


def test_more_than_a_worker_reads_is_refused(settings):
    settings.DJQUEUE = {"PAYLOADS": {"DATABASE": "default", "MAX_SIZE": 10_000}}
    with pytest.raises(NotSerializable, match="MAX_SIZE"):
        secret.keeps_secret.dispatch("x" * 20_000)


def test_it_runs_at_once_where_there_is_no_queue(plain_ledger):
    assert dispatch_sync(secret.keeps_secret.bind(MARK)) == MARK
    with pytest.raises(ValueError, match=MARK):
        dispatch_sync(secret.FailsWithSecret(MARK))
    assert dispatch(secret.keeps_secret.bind(MARK)).created
