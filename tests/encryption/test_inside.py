"""Errors that leave an encrypted job for code around it, and messages about its arguments."""

from __future__ import annotations

import logging
import sys

import pytest
from cryptography.fernet import Fernet

from djqueue import Job, batch, chain, current_job, dispatch_many, dispatch_sync, job, signals
from djqueue.errors import (
    BatchCancelled,
    InvalidJob,
    LimitReached,
    MissingPackage,
    Unsupported,
)
from djqueue.jobs import registry
from djqueue.models import FailedJob, QueuedJob
from djqueue.operations.describe import show
from djqueue.operations.retrying import retry
from djqueue.operations.verbs import running
from djqueue.payload import history
from djqueue.runner.encrypted.errors import public_error
from djqueue.testing import work
from djqueue.text.marks import is_marked, mark
from tests.app import secret
from tests.encryption.seen import MARK, reveals, tables

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]


def leaves_as_it_is():
    dispatch_sync(secret.FailsWithSecret(MARK))


def leaves_the_sync_connection():
    secret.FailsWithSecret(MARK).using(connection="sync").dispatch()


def is_a_cause():
    try:
        leaves_as_it_is()
    except ValueError as error:
        raise RuntimeError("outer") from error


def is_a_context():
    try:
        leaves_as_it_is()
    except ValueError:
        raise RuntimeError("outer") from None


def is_given_to_fail():
    try:
        leaves_as_it_is()
    except ValueError as error:
        current_job().fail(error)


def is_in_a_group():
    try:
        leaves_as_it_is()
    except ValueError as error:
        raise ExceptionGroup("outer", [KeyError("x"), error]) from None  # noqa: F821


LEAVES = [
    leaves_as_it_is,
    leaves_the_sync_connection,
    is_a_cause,
    is_a_context,
    is_given_to_fail,
    pytest.param(
        is_in_a_group,
        marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with 3.11"),
    ),
]


@pytest.mark.parametrize("leaves", LEAVES)
@pytest.mark.parametrize("tries", [1, 2])
def test_the_words_of_an_encrypted_job_stay_out_of_the_job_around_it(
    leaves, tries, settings, own_jobs, caplog, plain_ledger
):
    settings.DJQUEUE = {
        "CONNECTIONS": {"database": {"DRIVER": "database"}, "sync": {"DRIVER": "sync"}}
    }
    heard = []

    def hear(sender, error, **_):
        heard.append(f"{error} {error.__cause__}")

    @job(name="inside.outer", tries=tries, backoff=0, store_result=True)
    def outer():
        leaves()

    caplog.set_level(logging.DEBUG)
    outer.dispatch()
    for each in (signals.job_errored, signals.job_failed):
        each.connect(hear)
    try:
        work(delayed=True)
    finally:
        for each in (signals.job_errored, signals.job_failed):
            each.disconnect(hear)
    row = FailedJob.objects.get()
    assert row.name == "inside.outer"
    assert ("secret.py" in row.exception) is (leaves is not is_a_context)
    assert not any(reveals(value) for _, value in tables("default"))
    assert not reveals(caplog.text)
    assert heard
    assert not reveals(heard)
    if leaves is not is_a_context:  # a traceback has no exception that was suppressed
        assert MARK in row.decrypted_exception()


def test_a_chain_of_exceptions_without_end_is_no_secret_that_is_told():
    first = last = ValueError()
    for _ in range(2_000):
        last.__context__ = ValueError()
        last = last.__context__
    assert is_marked(first)
    other = KeyError()
    other.__context__ = ValueError()
    other.__context__.__cause__ = other
    assert not is_marked(other)
    mark(other.__context__)
    assert is_marked(other)


@pytest.mark.parametrize("name", ["job_queued", "job_started", "job_succeeded", "job_failed"])
def test_a_receiver_that_raises_is_logged_without_its_words(name, caplog, plain_ledger):
    def hear(sender, job, **_):
        raise KeyError(f"receiver {MARK}")

    signal = getattr(signals, name)
    signal.connect(hear)
    try:
        (secret.FailsWithSecret if name == "job_failed" else secret.keeps_secret.bind)(
            MARK
        ).dispatch()
        work(delayed=True)
    finally:
        signal.disconnect(hear)
    assert f"A receiver of the {name} signal raised KeyError" in caplog.text
    assert "test_inside.py" in caplog.text
    assert not reveals(caplog.text)


class SaysOurs(Job, name="inside.SaysOurs", encrypted=True, tries=1):
    text: str
    how: str

    def handle(self):
        if self.how == "UnknownJob":
            registry.find(self.text)
        raise {"MissingPackage": MissingPackage, "BatchCancelled": BatchCancelled}[self.how](
            self.text
        )


@pytest.fixture(scope="module", autouse=True)
def jobs_of_module():
    for each in (SaysOurs, Raises):
        registry.register(each._spec)
    yield
    for each in (SaysOurs, Raises):
        registry.unregister(each._spec.name)


@pytest.mark.parametrize("how", ["UnknownJob", "MissingPackage", "BatchCancelled"])
def test_words_are_not_trusted_because_of_their_class(how):
    SaysOurs(MARK, how).dispatch()
    work()
    row = FailedJob.objects.get()
    assert row.exception_class == f"djqueue.errors.{how}"
    assert row.exception_message == "encrypted"
    assert not any(reveals(value) for _, value in tables("default"))
    assert MARK in row.decrypted_exception()


def test_the_last_error_is_kept_when_no_try_is_left(own_jobs):
    heard = []

    class Fails(Job, name="inside.Fails", encrypted=True, tries=9, backoff=0):
        text: str

        def handle(self):
            if current_job().attempt == 3:
                raise LimitReached(self.text, 0)
            raise ValueError(self.text)

        def failed(self, error):
            heard.append(str(error))

    Fails(MARK).dispatch()
    work(max_jobs=3)
    row = QueuedJob.objects.get()
    tokens = ["encrypted" in each for each in history.read(row.history).attempts]
    assert tokens == [False, True, False]  # the last was held back, which is no error
    assert "gAAAA" in row.history
    assert "gAAAA" not in str(show(str(row.uuid)))
    row.attempts = 20
    row.save()
    work(delayed=True)
    failed = FailedJob.objects.get()
    assert "gAAAA" not in str(show(str(failed.uuid))["history"])
    assert failed.exception_message == "encrypted"
    assert heard == [MARK]
    assert failed.decrypted_exception() == f"ValueError: {MARK}\n"
    assert not any(reveals(value) for _, value in tables("default"))


# -- what is said of a dispatch --------------------------------------------------------------------


@pytest.mark.parametrize("what", ["message_group", "deduplication_id"])
def test_an_option_that_is_no_text_is_refused_without_its_value(what, own_jobs):
    @job(name="inside.grouped", encrypted=True, **{what: lambda given: [MARK]})
    def grouped(text):
        pass

    with pytest.raises(InvalidJob, match="of type list") as refused:
        grouped.dispatch(MARK)
    assert not reveals(str(refused.value))


@pytest.mark.parametrize("method", ["unique_id", "display_name"])
def test_what_a_method_returns_that_is_wrong_is_not_in_the_message(method, own_jobs):
    class Wrong(Job, name="inside.Wrong", encrypted=True, unique=method == "unique_id"):
        text: str

        def handle(self):
            pass

        locals()[method] = lambda self: [MARK]

    with pytest.raises(InvalidJob, match="returned list") as refused:
        Wrong(MARK).dispatch()
    assert not reveals(str(refused.value))


class Raises(Job, name="inside.Raises", encrypted=True, unique=True):
    """Its methods raise with its argument."""

    text: str
    where: str

    def unique_id(self):
        return self._raise("unique_id")

    def tags(self):
        return self._raise("tags") or []

    def _raise(self, where):
        if self.where == where:
            raise ValueError(self.text)

    def handle(self):
        pass


SENDS = [
    lambda sent: sent.dispatch(),
    lambda sent: dispatch_many([sent]),
    lambda sent: batch([sent]).dispatch(),
    lambda sent: chain([secret.keeps_secret.bind("x"), sent]).dispatch(),
]


@pytest.mark.parametrize(
    ("where", "send"),
    # steps and members are not unique
    [("tags", send) for send in SENDS] + [("unique_id", send) for send in SENDS[:2]],
)
def test_what_methods_raise_at_a_dispatch_is_an_encrypted_job_s(where, send):
    with pytest.raises(ValueError, match=MARK) as raised:
        send(Raises(MARK, where))
    shown = public_error(raised.value, hides=False)
    assert not reveals(f"{shown} {shown.__cause__}")


# -- what operators do -----------------------------------------------------------------------------


def test_no_copy_is_stored_in_plain(own_jobs):
    @job(name="inside.copied", encrypted=True)
    def copied(text):
        pass

    sent = copied.dispatch(MARK)
    registry.unregister("inside.copied")

    @job(name="inside.copied")
    def open_now(text):
        pass

    with pytest.raises(Unsupported, match="in plain"):
        running.copy(running.find(sent.id))
    assert QueuedJob.objects.count() == 1


def test_a_retry_without_the_key_is_refused_where_it_has_to_ask_the_job(settings, own_jobs):
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    settings.DJQUEUE = {"ENCRYPTION_KEYS": keys[:1]}

    class Until(Job, name="inside.Until", encrypted=True):
        text: str

        def retry_until(self):
            return 600

        def handle(self):
            current_job().fail("no")

    Until(MARK).dispatch()
    work()
    settings.DJQUEUE = {"ENCRYPTION_KEYS": keys[1:]}
    done = retry()
    assert done.moved == 0
    assert "where the workers run" in str(done)
    settings.DJQUEUE = {"ENCRYPTION_KEYS": keys}
    assert retry().moved == 1
    assert '"retry_until":' in QueuedJob.objects.get().payload
