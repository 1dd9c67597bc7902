"""Nothing of an encrypted job can be read where it is stored, shown or logged."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from djqueue import (
    Job,
    batch,
    chain,
    context,
    current_job,
    dispatch_many,
    find,
    job,
    signals,
)
from djqueue.drivers.base import Reservation
from djqueue.errors import LimitReached, QueueUnavailable
from djqueue.jobs import registry
from djqueue.limits import funnel
from djqueue.limits.store import store
from djqueue.models import Debounced, FailedJob, JobResult, Outbox, Payload, QueuedJob
from djqueue.operations.retrying import retry
from djqueue.runner.decision import Ending
from djqueue.runner.rules import Rules
from djqueue.testing import work
from tests.app import secret
from tests.encryption import seen
from tests.encryption.seen import MARK
from tests.runner.test_runner import run_held

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

SIGNALS = ("queued", "started", "succeeded", "errored", "released", "failed", "timed_out")
DJQUEUE = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database", "COMPRESS_ABOVE": 2_000, "STORE_ABOVE": 4_000}
    }
}


@pytest.fixture
def operator():
    return User.objects.create_superuser("operator")


@pytest.fixture
def announced():
    """Signals, as a receiver would log them."""
    heard = []

    def hear(sender, signal, **arguments):
        job = arguments.get("job")
        heard.append(repr((arguments, getattr(job, "instance", None))))
        error = arguments.get("error")
        while error is not None:
            frames = MARK if error.__traceback__ is not None else ""  # they have all variables
            heard.append(f"{error!r} {error} {frames}")
            error = error.__cause__ or error.__context__

    every = [getattr(signals, f"job_{name}") for name in SIGNALS]
    for each in every:
        each.connect(hear, weak=False)
    yield heard
    for each in every:
        each.disconnect(hear)


@pytest.fixture
def unique_jobs():
    class Unique(Job, name="secret.Unique", encrypted=True, unique=True):
        text: str

        def handle(self):
            pass

    class UniqueById(Unique, name="secret.UniqueById"):
        def unique_id(self):
            return self.text

    class Debounced(Job, name="secret.Debounced", encrypted=True, debounce=30):
        text: str

        def unique_id(self):
            return self.text

        def handle(self):
            pass

    yield Unique, UniqueById, Debounced
    for each in (Unique, UniqueById, Debounced):
        registry.unregister(each._spec.name)


def everything(operator):
    ids = [str(row.uuid) for model in (QueuedJob, FailedJob) for row in model.objects.all()]
    ids += [str(row.pk) for row in JobResult.objects.all()]
    return seen.found(
        seen.tables("default", "queue"),
        seen.pages(operator),
        seen.output(ids),
        seen.peeked("database"),
    )


def test_the_mark_would_be_found(operator, settings, caplog):
    """The tests below look into what they say: a job that is not encrypted is seen everywhere."""
    settings.DJQUEUE = DJQUEUE

    @job(name="secret.open", store_result=True)
    def says(text: str) -> str:
        raise ValueError(text)

    says.dispatch(MARK)
    says.dispatch(MARK + "x" * 50_000)
    assert Payload.objects.count() == 0  # it is compressed
    places = {place.split()[0] for place, _ in everything(operator)}
    assert places == {"table", "page", "output", "waiting"}
    work()
    assert {"error", "table", "page", "output"} >= {p.split()[0] for p, _ in everything(operator)}
    assert seen.reveals(caplog.text)
    registry.unregister("secret.open")


def test_nothing_is_seen_of_jobs_that_wait_run_fail_and_are_retried(
    operator, settings, caplog, announced, plain_ledger, request
):
    settings.DJQUEUE = DJQUEUE
    caplog.set_level(logging.DEBUG)
    job_filter = context.JobFilter()
    caplog.handler.addFilter(job_filter)
    request.addfinalizer(lambda: caplog.handler.removeFilter(job_filter))
    with context.scope(note=MARK, hidden={"pin": MARK}):
        done = secret.keeps_secret.dispatch(MARK)
        failing = secret.FailsWithSecret(MARK).dispatch()
        dispatch_many([secret.keeps_secret.bind(MARK), secret.keeps_secret.bind(MARK)])
        large = secret.keeps_secret.dispatch(MARK + "".join(map(str, range(40_000))))
    assert Payload.objects.count() == 1
    assert everything(operator) == []
    work(max_jobs=2)  # a failed attempt is released
    assert everything(operator) == []
    work(delayed=True)
    assert done.result() == MARK
    assert large.result().startswith(MARK)
    assert failing.status == "failed"
    assert everything(operator) == []
    assert retry().moved == 1
    assert everything(operator) == []
    work(delayed=True)
    assert FailedJob.objects.get().exception_class == "ValueError"
    assert everything(operator) == []
    assert not seen.reveals(caplog.text)
    assert [record for record in caplog.records if record.name == "djqueue.jobs"]
    for record in caplog.records:
        assert not seen.reveals(vars(record))
        assert isinstance(record.context, dict)
    assert len(announced) > 10
    assert not seen.reveals(announced)


def test_nothing_is_seen_of_chains_and_batches(operator, settings, announced, plain_ledger):
    settings.DJQUEUE = DJQUEUE
    steps = [secret.keeps_secret.bind(MARK), secret.follows_secret.bind()]
    first = chain([*steps]).on_failure(secret.keeps_secret.bind(MARK)).dispatch()
    other = chain([secret.keeps_secret.bind(MARK), secret.reads_secret.bind()]).dispatch()
    batch(
        [secret.keeps_secret.bind(MARK), secret.FailsWithSecret(MARK)],
        on_failure=secret.keeps_secret.bind(MARK),
        on_finish=secret.keeps_secret.bind(MARK),
    ).dispatch()
    assert everything(operator) == []
    work(max_jobs=2)
    assert "previous" in "".join(QueuedJob.objects.values_list("payload", flat=True))
    assert everything(operator) == []
    work(delayed=True)
    assert everything(operator) == []
    for name in ("app.follows_secret", "app.reads_secret"):
        row = JobResult.objects.get(name=name)
        assert find(str(row.pk)).result() == len(MARK)
    assert first.status == other.status == "done"
    assert not seen.reveals(announced)


def test_nothing_is_seen_in_keys(operator, settings, unique_jobs):
    Unique, UniqueById, Waits = unique_jobs
    for job_class in (Unique, UniqueById):
        first, second = job_class(MARK).dispatch(), job_class(MARK).dispatch()
        assert second.existing == first.id
        assert job_class("other").dispatch().created
    first = Waits(MARK).dispatch()
    assert Waits(MARK).dispatch().existing == first.id
    assert Outbox.objects.count() == Debounced.objects.count() == 1
    assert everything(operator) == []
    work(delayed=True)
    assert everything(operator) == []


def test_nothing_is_seen_of_a_job_that_runs_here(settings, caplog, announced):
    settings.DJQUEUE = {
        "DEFAULT": "deferred",
        "CONNECTIONS": {"deferred": {"DRIVER": "deferred"}, "sync": {"DRIVER": "sync"}},
    }
    with suppress(ValueError):
        secret.FailsWithSecret(MARK).using(connection="sync").dispatch()
    secret.FailsWithSecret(MARK).dispatch()  # there is no request: it runs at once, and is logged
    assert "which keeps no jobs" in caplog.text
    assert not seen.reveals(caplog.text)
    assert not seen.reveals(announced)


class Untidy(Job, name="secret.Untidy", encrypted=True, tries=2):
    """Raises wherever djqueue calls it."""

    text: str

    def backoff(self):
        raise ValueError(self.text)

    def handle(self):
        current_job().progress(1, 2, self.text)
        raise ValueError(self.text)

    def failed(self, error):
        raise ValueError(self.text)


class Fails(Job, name="secret.Fails", encrypted=True):
    text: str

    def handle(self):
        current_job().fail(self.text)


class HeldBack(Job, name="secret.HeldBack", encrypted=True):
    text: str

    def handle(self):
        raise LimitReached(self.text, 60)


class Unkept(Job, name="secret.Unkept", encrypted=True, store_result=True):
    text: str

    def handle(self):
        return {self.text: object()}


class RaisesAfterCommit(Job, name="secret.RaisesAfterCommit", encrypted=True, atomic=True):
    text: str

    def handle(self):
        transaction.on_commit(self.too_late)

    def too_late(self):
        raise ValueError(self.text)


class TimesOut(Job, name="secret.TimesOut", encrypted=True, timeout=1):
    text: str

    def handle(self):
        try:
            time.sleep(20)
        except BaseException as error:
            raise ValueError(self.text) from error


def test_nothing_is_seen_of_what_else_a_job_may_raise(operator, settings, caplog, announced):
    settings.DJQUEUE = {}
    caplog.set_level(logging.DEBUG)
    for each in (Untidy, Fails, HeldBack, Unkept):
        each(MARK).dispatch()
    work()
    assert everything(operator) == []  # one is held back
    work(delayed=True)
    names = set(FailedJob.objects.values_list("name", flat=True))
    assert {"secret.Untidy", "secret.Fails"} <= names
    assert "backoff() raised" in caplog.text
    assert "secret.Untidy.failed() raised" in caplog.text
    assert "is held back" in caplog.text
    assert everything(operator) == []
    assert not seen.reveals(caplog.text)
    for record in caplog.records:
        assert not seen.reveals(vars(record))
    assert not seen.reveals(announced)


@pytest.mark.django_db(databases=["default", "queue"], transaction=True)
def test_nothing_is_seen_of_an_error_after_the_commit(settings, caplog):
    settings.DJQUEUE = {}
    RaisesAfterCommit(MARK).dispatch()
    work()
    assert "on_commit() raised ValueError" in caplog.text
    assert "test_nowhere.py" in caplog.text
    assert not seen.reveals(caplog.text)
    assert seen.found(seen.tables("default")) == []


def test_nothing_is_seen_of_a_timeout(settings, announced, alarm):
    settings.DJQUEUE = {}
    sent = TimesOut(MARK).dispatch()
    row = QueuedJob.objects.get()
    held = Reservation(sent.id, row.queue, row.name, row.payload, 1, 0, "", None)
    outcome = run_held(held, Rules(), alarm).outcome
    assert outcome.ending is Ending.TIMED_OUT
    assert "ran longer than its timeout of 1 s" in outcome.error.message
    assert "ran longer" in outcome.history
    assert not seen.reveals(outcome)
    assert any("TimeoutExceeded" in each for each in announced)
    assert not seen.reveals(announced)


def test_the_error_of_a_receiver_is_logged_without_words(caplog, settings):
    settings.DJQUEUE = {}

    def fails(sender, **arguments):
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("a receiver's own") from error

    signals.job_errored.connect(fails)
    try:
        Untidy(MARK).dispatch()
        work()
    finally:
        signals.job_errored.disconnect(fails)
    assert "A receiver of the job_errored signal raised RuntimeError" in caplog.text
    assert "in fails" in caplog.text
    assert not seen.reveals(caplog.text)


class HoldsSlot(Job, name="secret.HoldsSlot", encrypted=True):
    text: str

    def handle(self):
        with funnel("slots", limit=1):
            raise ValueError(self.text)


def test_a_slot_that_cannot_be_given_back_is_logged_without_the_error(
    caplog, settings, monkeypatch
):
    settings.DJQUEUE = {}

    def away(self, *given):
        raise QueueUnavailable("away")

    HoldsSlot(MARK).dispatch()
    monkeypatch.setattr(type(store()), "leave", away)
    work()
    assert "could not be given back" in caplog.text
    assert not seen.reveals(caplog.text)
