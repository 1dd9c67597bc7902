"""Encrypted jobs and real workers, with a key and without."""

from __future__ import annotations

import pytest

from djqueue.models import FailedJob, QueuedJob
from djqueue.operations.retrying import retry
from tests.app import secret
from tests.encryption import seen
from tests.encryption.seen import MARK
from tests.encryption.test_keys import NEW, OLD
from tests.support import start_worker, wait_until

pytestmark = [pytest.mark.usefixtures("ledger"), pytest.mark.anywhere]


def with_keys(*keys, grace=600):
    return {"DJQUEUE": {"ENCRYPTION_KEYS": list(keys), "UNKNOWN_JOB_GRACE": grace}}


def test_a_worker_without_the_key_leaves_the_job_to_one_that_has_it(settings):
    settings.DJQUEUE = {"ENCRYPTION_KEYS": [OLD]}
    sent = secret.keeps_secret.dispatch(MARK)
    with start_worker(overrides=with_keys(NEW)) as worker:
        wait_until(lambda: "Undecryptable" in QueuedJob.objects.get(uuid=sent.id).history)
        row = QueuedJob.objects.get(uuid=sent.id)
        assert row.attempts == 0
        assert sent.status == "delayed"
        assert not FailedJob.objects.exists()
        assert not seen.reveals(worker.output)
    QueuedJob.objects.update(line=0)  # its 15 s have passed
    settings.DJQUEUE = {"ENCRYPTION_KEYS": [NEW, OLD]}
    with start_worker(overrides=with_keys(NEW, OLD)):
        assert sent.result(timeout=30) == MARK


def test_it_fails_when_no_worker_has_the_key_and_runs_when_one_has_it_again(settings):
    settings.DJQUEUE = {"ENCRYPTION_KEYS": [OLD]}
    sent = secret.keeps_secret.dispatch(MARK)
    with start_worker("--stop-when-empty", overrides=with_keys(NEW, grace=0)) as worker:
        wait_until(lambda: FailedJob.objects.exists())
        assert worker.wait() == 0
        assert "Undecryptable" in worker.output
    assert "Put the former key back" in FailedJob.objects.get().exception_message
    assert retry().moved == 1
    with start_worker(overrides=with_keys(OLD)):
        assert sent.result(timeout=30) == MARK
    assert seen.found(seen.tables("default")) == []
