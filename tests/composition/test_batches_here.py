"""Batches and chains on connections that run jobs in this process."""

import logging

import pytest
from django.db import transaction

from djqueue import batch, chain
from djqueue.composition.batches import growing
from djqueue.dispatch.inline import after_response
from djqueue.models import JobBatch, JobResult, Outbox
from djqueue.signals import batch_finished
from djqueue.testing import work
from tests.composition import jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ran():
    jobs.ran.clear()
    return jobs.ran


@pytest.fixture(autouse=True)
def connections(settings):
    settings.DJQUEUE = {
        "DEFAULT": "sync",
        "CONNECTIONS": {
            "sync": {"DRIVER": "sync"},
            "null": {"DRIVER": "null"},
            "database": {"DRIVER": "database"},
            "other": {"DRIVER": "sync"},
            "deferred": {"DRIVER": "deferred"},
        },
    }


@pytest.fixture
def request_here():
    """A request of this thread: called, its response has been sent."""
    after_response.started({})
    yield after_response.finished
    after_response.finished()


def of(row):
    row.refresh_from_db()
    return (row.total_jobs, row.pending_jobs, row.failed_jobs, row.cancelled, row.finished)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Members are stored five at a time."""
    monkeypatch.setattr(growing, "SLICE", 5)


def members():
    """More than a slice; the first one fails."""
    yield jobs.breaks.bind()
    yield from (jobs.number.bind(value) for value in range(6))


def test_a_member_that_fails_keeps_no_other_from_running_where_that_is_allowed(ran):
    with pytest.raises(ValueError, match="broken"):
        batch(members(), allow_failures=True, on_finish=jobs.notes.bind("on_finish")).dispatch()
    row = JobBatch.objects.get()
    assert of(row) == (7, 0, 1, False, True)
    assert ran[-1] == ("on_finish", row.pk, 100)
    assert len(ran) == 8


def test_the_same_in_a_transaction_whose_commit_is_disturbed_by_no_error(ran, caplog):
    with transaction.atomic():
        batch(members(), allow_failures=True).dispatch()
        chain([jobs.breaks.bind()]).using(after_commit=True).dispatch()
        batch([jobs.number.bind(600)]).dispatch()
        assert not ran
    assert [of(row)[:4] for row in JobBatch.objects.order_by("pk")] == [
        (7, 0, 1, False),
        (1, 0, 0, False),
    ]
    assert ran[-1] == (600, None)
    assert caplog.text.count("ValueError: broken") == 2


def test_members_of_several_such_connections_all_run(ran):
    some = [
        jobs.breaks.using(connection="sync").bind(),
        jobs.number.using(connection="other").bind(2),
    ]
    with pytest.raises(ValueError, match="broken"):
        batch(some, allow_failures=True).dispatch()
    assert of(JobBatch.objects.get()) == (2, 0, 1, False, True)
    assert (2, None) in ran


def test_a_member_that_exits_keeps_no_other_from_running(ran):
    with pytest.raises(SystemExit):
        batch([jobs.exits.bind(), jobs.number.bind(2)], allow_failures=True).dispatch()
    assert of(JobBatch.objects.get()) == (2, 0, 1, False, True)
    assert ran == ["exits", (2, None)]


def test_an_error_of_the_iterable_is_raised_rather_than_that_of_a_member():
    def broken():
        yield from members()
        raise ZeroDivisionError("no more")

    with pytest.raises(ZeroDivisionError):
        batch(broken(), allow_failures=True).dispatch()
    row = JobBatch.objects.get()
    assert of(row) == (5, 0, 1, True, True)
    assert row.reason == "its dispatch broke off: no more"


def test_on_deferred_they_run_after_the_response(ran, request_here):
    given = [jobs.number.bind(1), chain([jobs.number.bind(2), jobs.number.bind(3)])]
    finish = jobs.notes.bind("on_finish")
    row = batch(given, on_finish=finish).using(connection="deferred").dispatch()
    chain([jobs.number.bind(4), jobs.number.bind(5)]).using(connection="deferred").dispatch()
    assert of(row) == (2, 2, 0, False, False)
    assert not ran
    request_here()
    assert of(row) == (2, 0, 0, False, True)
    assert [each[0] for each in ran] == [1, 2, 3, "on_finish", 4, 5]
    assert not Outbox.objects.exists()


def test_a_deferred_step_behind_one_that_ran_at_once_waits_for_the_response(ran, request_here):
    steps = [jobs.number.bind(1), jobs.number.using(connection="deferred").bind(2)]
    chain([*steps, jobs.number.bind(3)]).dispatch()
    assert [each[0] for each in ran] == [1]
    request_here()
    assert [each[0] for each in ran] == [1, 2, 3]


def test_on_deferred_errors_are_logged_and_never_raised(ran, request_here, caplog):
    broken = chain([jobs.breaks.bind(), jobs.number.bind(1)]).using(connection="deferred")
    broken.dispatch()
    batch([jobs.breaks.bind()]).using(connection="deferred").dispatch()
    with caplog.at_level(logging.ERROR, "djqueue"):
        request_here()
        broken.dispatch()
    assert ran == ["breaks"] * 3
    logged = [record for record in caplog.records if "keeps no jobs" in record.getMessage()]
    assert len(logged) == 3
    assert of(JobBatch.objects.get()) == (1, 0, 1, True, True)


class TestNull:
    """What is thrown away leaves nothing that waits, and results that say so."""

    @pytest.fixture(autouse=True)
    def leaves_nothing(self):
        yield
        assert not Outbox.objects.exists()
        assert not JobResult.objects.exclude(status="cancelled").exists()

    def test_a_chain_vanishes(self, ran):
        steps = [jobs.adds.bind(1, 2), jobs.adds.bind(3, 4)]
        with transaction.atomic():
            first = (
                chain(steps).on_failure(jobs.alert.bind("x")).using(connection="null").dispatch()
            )
        assert first.status == "cancelled"
        assert JobResult.objects.count() == 2
        assert not ran

    def test_members_and_chains_as_members_are_settled(self, ran):
        members = [chain([jobs.number.bind(1), jobs.adds.bind(1, 2)]), jobs.adds.bind(3, 4)]
        row = batch(members).using(connection="null").dispatch()
        assert of(row) == (2, 0, 0, True, True)
        assert JobResult.objects.count() == 2
        assert not ran

    def test_a_step_that_is_thrown_away_ends_its_chain(self, ran):
        steps = [jobs.number.bind(1), jobs.adds.using(connection="null").bind(2, 3)]
        row = batch([chain([*steps, jobs.adds.bind(4, 5)])]).using(connection="database").dispatch()
        work("database")
        assert of(row) == (1, 0, 0, False, True)
        assert ran == [(1, None)]
        assert JobResult.objects.count() == 2

    def test_a_batch_calls_for_nothing_there(self, ran):
        nowhere = jobs.adds.using(connection="null").bind(1, 2)
        batch([jobs.number.bind(1)], on_finish=nowhere, on_success=nowhere).dispatch()
        assert JobResult.objects.count() == 2
        assert len(ran) == 1


@pytest.mark.parametrize("driver", ["database", "sync", "deferred", "null"])
def test_the_end_of_a_batch_is_announced_once(settings, driver):
    settings.DJQUEUE = {"DEFAULT": driver, "CONNECTIONS": {driver: {"DRIVER": driver}}}
    seen = []

    def receive(sender, batch, **more):
        seen.append((sender, batch.pk, batch.finished))

    batch_finished.connect(receive)
    try:
        outer = batch([chain([batch([jobs.number.bind(1)])])]).dispatch()
        others = [batch([jobs.number.bind(1)]).dispatch(), batch([]).dispatch()]
        work()
        work()
    finally:
        batch_finished.disconnect(receive)
    if driver != "null":
        assert outer.pk in [id for _, id, _ in seen]
    assert {row.pk for row in others} <= {id for _, id, _ in seen}
    assert len(seen) == JobBatch.objects.filter(finished_at__isnull=False).count() == 4
    assert all(sender is JobBatch and finished for sender, _, finished in seen)
