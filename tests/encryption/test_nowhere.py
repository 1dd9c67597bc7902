"""Nothing of an encrypted job can be read where it is stored, shown or logged."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from django.contrib.auth.models import User

from djqueue import Job, batch, chain, context, dispatch_many, find, job, signals
from djqueue.jobs import registry
from djqueue.models import Debounced, FailedJob, JobResult, Outbox, Payload, QueuedJob
from djqueue.operations.retrying import retry
from djqueue.testing import work
from tests.app import secret
from tests.encryption import seen
from tests.encryption.seen import MARK

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
            heard.append(f"{error!r} {error}")
            assert error.__traceback__ is None
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
    operator, settings, caplog, announced, plain_ledger
):
    settings.DJQUEUE = DJQUEUE
    caplog.set_level(logging.DEBUG)
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
