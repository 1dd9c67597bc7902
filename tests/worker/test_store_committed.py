"""An atomic job that has committed is done, on every store, whatever its process lived to say."""

from __future__ import annotations

from djqueue.models import FailedJob
from djqueue.operations import failed_jobs, retrying
from tests.app import untidy
from tests.app.models import Note
from tests.support import start_worker


def test_a_job_whose_process_dies_right_after_its_commit_has_not_failed(store, ledger):
    untidy.commits_and_dies.using(connection="store").dispatch("here")
    untidy.dies_once.using(connection="store", tries=1).dispatch()
    with start_worker("store", "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
        assert "is done after all: its transaction was committed" in worker.output
    assert [note.text for note in Note.objects.all()] == ["here"]
    assert [row.name for row in FailedJob.objects.all()] == ["app.dies_once"]
    retrying.retry(failed_jobs.ALL)
    with start_worker("store", "--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert Note.objects.count() == 1
