"""What an atomic job writes stands or falls with its end."""

from __future__ import annotations

import pytest

from djqueue import current_job, job
from djqueue.models import FailedJob, QueuedJob, Run
from djqueue.testing import work
from tests.app.models import Note

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@job(name="tests.atomic_writer", atomic=True, tries=1)
def writes(how: str) -> str:
    Note.objects.create(text=how)
    if how == "raise":
        raise ValueError(how)
    if how == "fail":
        current_job().fail("no")
    if how == "release" and current_job().attempt == 1:
        current_job().release()
    if how == "delete":
        current_job().delete()
    return how


@job(name="tests.atomic_elsewhere", atomic="other", tries=1)
def writes_elsewhere(how: str) -> None:
    Note.objects.using("other").create(text=how)
    if how == "raise":
        raise ValueError(how)
    if how == "release" and current_job().attempt == 1:
        current_job().release()


@pytest.fixture(autouse=True)
def clean():
    yield
    Note.objects.using("other").all().delete()
    Run.objects.using("other").all().delete()


@pytest.mark.parametrize(("how", "notes"), [("end", 1), ("delete", 1), ("raise", 0), ("fail", 0)])
def test_an_end_commits_and_a_failure_rolls_back(how, notes):
    writes.dispatch(how)
    work()
    assert Note.objects.count() == notes
    assert FailedJob.objects.count() == 1 - notes
    assert not QueuedJob.objects.exists()


def test_a_release_commits_and_runs_again():
    writes.using(tries=5).dispatch("release")
    assert work() == 2
    assert Note.objects.count() == 2
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize(("how", "notes"), [("end", 1), ("raise", 0)])
def test_another_database_is_guarded_by_a_row_there(how, notes):
    writes_elsewhere.dispatch(how)
    work()
    assert Note.objects.using("other").count() == notes
    assert Run.objects.using("other").count() == notes


def test_a_second_attempt_finds_the_guard_and_does_nothing():
    id = writes_elsewhere.dispatch("end").id
    row = QueuedJob.objects.get()
    work()
    row.pk = None
    row.save(force_insert=True)  # as if the removal from the queue had been lost
    assert str(row.uuid) == id
    work()
    assert Note.objects.using("other").count() == 1
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()


def test_a_released_job_elsewhere_runs_again():
    writes_elsewhere.using(tries=5).dispatch("release")
    assert work() == 2
    assert Note.objects.using("other").count() == 2


def test_a_job_that_runs_at_once_is_in_a_transaction_too():
    assert writes.dispatch_sync("end") == "end"
    with pytest.raises(ValueError, match="raise"):
        writes.dispatch_sync("raise")
    assert [note.text for note in Note.objects.all()] == ["end"]
