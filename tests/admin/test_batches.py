"""The page of a batch: operators cancel it, and retry what failed."""

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from djqueue import batch
from djqueue.models import JobBatch
from djqueue.testing import work
from tests.admin.support import BATCHES, client
from tests.composition import jobs

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


@pytest.fixture
def row():
    jobs.ran.clear()
    members = [jobs.once_broken.bind(), jobs.number.bind(1), jobs.number.bind(2)]
    return batch(members, name="Import", allow_failures=True).dispatch()


def act(browser, row, verb, **more):
    return browser.post(f"{BATCHES}{row.pk}/act/{verb}/", more, follow=True).content.decode()


def test_a_batch_is_cancelled_after_a_question(row):
    browser = client("cancel_jobbatch")
    page = browser.get(f"{BATCHES}{row.pk}/change/").content.decode()
    assert f"{row.pk}/act/cancel/" in page
    assert f"{row.pk}/act/retry/" not in page
    assert "end without being run" in act(browser, row, "cancel")
    row.refresh_from_db()
    assert not row.cancelled
    assert "Cancelled 1 batch." in act(browser, row, "cancel", confirmed="1")
    row.refresh_from_db()
    assert row.cancelled
    assert LogEntry.objects.count() == 1
    assert "was cancelled before" in act(browser, row, "cancel", confirmed="1")


def test_an_open_batch_is_closed_after_a_question(row):
    browser = client("cancel_jobbatch")
    assert f"{row.pk}/act/close/" not in browser.get(f"{BATCHES}{row.pk}/change/").content.decode()
    JobBatch.objects.filter(pk=row.pk).update(open_until=timezone.now())
    assert f"{row.pk}/act/close/" in browser.get(f"{BATCHES}{row.pk}/change/").content.decode()
    assert "dispatched it is gone" in act(browser, row, "close")
    assert "Closed 1 batch." in act(browser, row, "close", confirmed="1")
    assert "takes no more members" in act(browser, row, "close", confirmed="1")


def test_the_failed_jobs_are_retried(row):
    work(max_jobs=1)
    browser = client("retry_jobbatch")
    assert "Retried the failed jobs of 1 batch." in act(browser, row, "retry")
    row.refresh_from_db()
    assert (row.failed_jobs, row.pending_jobs) == (0, 3)
    assert "none of its jobs has failed" in act(browser, row, "retry")


def test_who_may_not_is_refused(row):
    browser = client()
    assert browser.post(f"{BATCHES}{row.pk}/act/cancel/", {"confirmed": "1"}).status_code == 403
    assert "act/cancel" not in browser.get(f"{BATCHES}{row.pk}/change/").content.decode()
    assert client("cancel_jobbatch").post(f"{BATCHES}x'y/act/cancel/").status_code == 404


def test_the_page_of_a_batch_has_its_numbers(row):
    page = client().get(f"{BATCHES}{row.pk}/change/")
    facts = {str(label): str(value) for label, value in page.context["facts"]}
    assert facts["Id"] == str(row.pk)
    assert facts["Jobs"] == "0 of 3 (0 %)"
    assert facts["Cancelled"] == "-"
