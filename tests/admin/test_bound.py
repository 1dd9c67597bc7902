"""Keys and chains on the page of a job, and the list of jobs that wait outside their store."""

import pytest
from django.contrib.admin.models import LogEntry

from djqueue import batch, chain, job
from djqueue.dispatch.unique.held import held
from djqueue.jobs import registry
from djqueue.models import FailedJob, JobBatch, Outbox, QueuedJob
from djqueue.testing import work
from tests.admin.support import FAILED, JOBS, PARKED, client
from tests.composition import jobs, unique_jobs

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


@pytest.fixture
def debounced_job():
    @job(name="admin.save", debounce=30)
    def save(text: str) -> None: ...

    yield save
    registry.unregister("admin.save")


def page_of(browser, url, row):
    return browser.get(f"{url}{row.pk}/change/").content.decode()


def act(browser, url, row, verb, **more):
    return browser.post(f"{url}{row.pk}/act/{verb}/", more, follow=True).content.decode()


def test_a_unique_key_is_shown_and_freed_after_a_question():
    unique_jobs.for_a_while.dispatch()
    (row,) = QueuedJob.objects.all()
    browser = client("view_payload", "release_job")
    page = page_of(browser, JOBS, row)
    assert ", held by this job" in page
    assert "act/unlock/" in page
    assert "can be dispatched then" in act(browser, JOBS, row, "unlock")
    assert list(held())
    assert "Freed the unique key of 1 job." in act(browser, JOBS, row, "unlock", confirmed="1")
    assert not list(held())
    assert LogEntry.objects.count() == 1
    other = unique_jobs.for_a_while.dispatch()
    page = page_of(browser, JOBS, row)
    assert f", held by job {other.id}" in page
    assert "act/unlock/" not in page
    assert "it has no unique key" in act(browser, JOBS, row, "unlock", confirmed="1")


def test_who_may_not_free_a_key_is_refused():
    unique_jobs.for_a_while.dispatch()
    (row,) = QueuedJob.objects.all()
    assert client().post(f"{JOBS}{row.pk}/act/unlock/", {"confirmed": "1"}).status_code == 403


def test_a_chain_is_shown_and_ended_after_a_question():
    steps = [jobs.number.bind(1), jobs.total.bind(), jobs.number.bind(2)]
    chain(steps).on_failure(jobs.alert.bind("broken")).dispatch()
    (row,) = QueuedJob.objects.all()
    browser = client("delete_queuedjob")
    page = page_of(browser, JOBS, row)
    assert "step 1 of 3" in page
    assert page.index("composition.total") < page.rindex("composition.number")
    assert "composition.alert" in page
    assert "act/end_chain/" in page
    assert "are deleted" in act(browser, JOBS, row, "end_chain")
    assert Outbox.objects.count() == 3
    assert "Ended 1 chain." in act(browser, JOBS, row, "end_chain", confirmed="1")
    assert not Outbox.objects.exists()
    assert QueuedJob.objects.filter(pk=row.pk).exists()
    assert "act/end_chain/" not in page_of(browser, JOBS, row)
    assert "nothing waits behind it" in act(browser, JOBS, row, "end_chain", confirmed="1")


def test_a_broken_chain_is_shown_with_the_step_that_failed():
    chain([jobs.breaks.bind(), jobs.total.bind()]).dispatch()
    work()
    page = page_of(client(), FAILED, FailedJob.objects.get())
    assert "step 1 of 2" in page
    assert "Broken: next, after a retry" in page


class TestParked:
    def test_each_says_what_it_waits_for(self, debounced_job):
        debounced_job.dispatch("a")
        chain([jobs.number.bind(1), jobs.total.bind()]).dispatch()
        browser = client()
        listed = browser.get(PARKED).content.decode()
        assert "another dispatch" in listed
        assert "its turn" in listed
        row = Outbox.objects.get(debounced=True)
        page = page_of(client("view_payload"), PARKED, row)
        assert "Debounced, key" in page
        assert "unless another dispatch with its key comes first" in page
        assert "admin.save" in page

    def test_a_debounced_one_runs_now_or_is_deleted(self, debounced_job):
        debounced_job.dispatch("a")
        row = Outbox.objects.get()
        browser = client("release_job", "delete_queuedjob")
        assert "1 job may run now." in act(browser, PARKED, row, "run_now")
        assert work() == 1
        debounced_job.dispatch("b")
        row = Outbox.objects.get()
        assert "Deleted 1 job." in act(browser, PARKED, row, "delete", confirmed="1")
        assert not Outbox.objects.exists()

    def test_with_a_step_those_of_its_chain_go(self):
        chain([jobs.number.bind(1), jobs.total.bind(), jobs.total.bind()]).dispatch()
        row = Outbox.objects.order_by("position").last()
        browser = client("delete_queuedjob")
        assert "are deleted too" in act(browser, PARKED, row, "delete")
        assert "Deleted 1 job." in act(browser, PARKED, row, "delete", confirmed="1")
        assert not Outbox.objects.exists()
        assert work() == 1

    def test_a_member_that_waits_for_its_batch_goes_alone(self):
        members = batch([jobs.number.bind(1), jobs.number.bind(2)])
        chain([jobs.total.bind(), members, jobs.total.bind()]).dispatch()
        row = Outbox.objects.order_by("position").first()
        browser = client("delete_queuedjob")
        assert "Deleted 1 job." in act(browser, PARKED, row, "delete", confirmed="1")
        assert Outbox.objects.count() == 3
        assert JobBatch.objects.get().pending_jobs == 1

    def test_who_may_not_is_refused(self, debounced_job):
        debounced_job.dispatch("a")
        row = Outbox.objects.get()
        for verb in ("run_now", "delete"):
            answer = client().post(f"{PARKED}{row.pk}/act/{verb}/", {"confirmed": "1"})
            assert answer.status_code == 403
