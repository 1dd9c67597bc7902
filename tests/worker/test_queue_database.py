"""Jobs in a database of their own, models in another."""

from __future__ import annotations

import pytest
from django.db import transaction

from djqueue import find
from djqueue.models import FailedJob, QueuedJob, Worker
from tests.app import jobs
from tests.app.models import Note
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "queue"])


@pytest.fixture(autouse=True)
def queue_database(settings):
    settings.DATABASE_ROUTERS = ["djqueue.routers.QueueRouter"]
    settings.DJQUEUE = {
        "CONNECTIONS": {"database": {"DRIVER": "database", "DATABASE": "queue"}},
        "FAILED_JOBS": {"DATABASE": "queue"},
        "BATCHES": {"DATABASE": "queue"},
        "RESULTS": {"DATABASE": "queue"},
    }


def test_jobs_live_there_and_models_here(plain_ledger):
    jobs.record.dispatch(1)
    assert QueuedJob.objects.using("queue").count() == 1
    assert QueuedJob.objects.using("default").count() == 0
    with start_worker():
        wait_until(lambda: plain_ledger.lines("end"))
        assert Worker.objects.using("queue").exists()
    assert not QueuedJob.objects.using("queue").exists()


def test_a_failure_is_kept_beside_the_jobs(plain_ledger):
    id = jobs.boom.dispatch().id
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait() == 0
    assert str(FailedJob.objects.using("queue").get().uuid) == id
    assert find(id).status == "failed"


def test_a_dispatch_waits_for_the_transaction_of_the_models():
    with transaction.atomic():
        Note.objects.create(text="x")
        jobs.record.dispatch(1)
        assert not QueuedJob.objects.using("queue").exists()
    assert QueuedJob.objects.using("queue").count() == 1


def test_an_atomic_job_means_the_database_of_its_queue_unless_it_names_another(
    plain_ledger,
):
    jobs.insert_note_in_default.dispatch(1)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait() == 0
    assert [note.text for note in Note.objects.all()] == ["1"]
    assert not QueuedJob.objects.using("queue").exists()
