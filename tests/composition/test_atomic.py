"""The end of an atomic job that is bound to others, where it is not in the database of that."""

import pytest

from djqueue import batch, queues
from djqueue.drivers.redis.driver import RedisDriver
from djqueue.models import FailedJob, Outbox
from djqueue.operations.retrying import retry
from djqueue.runner.atomic import was_committed
from djqueue.testing import work
from tests.composition import jobs
from tests.composition.jobs import ran

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


def test_a_retried_job_runs_again(redis_connection):
    dispatched = jobs.atomic_once_broken.using(connection="redis").dispatch()
    work("redis")
    assert dispatched.status == "failed"
    assert retry().moved == 1
    (waiting,) = queues["redis"].peek()
    held = type("Held", (), {"id": waiting.id, "payload": waiting.payload})
    assert not was_committed(True, "redis", queues["redis"].driver.session(), held)
    assert work("redis") == 1
    assert dispatched.result(timeout=1) == "mended"
    assert ran == ["broken", "mended"]


def test_a_retry_of_what_never_reached_its_store_is_counted_once(redis_connection, monkeypatch):
    def refuses(self, jobs):
        raise RuntimeError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(RedisDriver, "push", refuses)
        row = batch([jobs.atomic.bind(1), jobs.atomic.bind(2)], allow_failures=True).using(
            connection="redis"
        )
        row = row.dispatch()
    assert FailedJob.objects.count() == 2
    retry()
    for pending in (1, 0):
        assert work("redis", max_jobs=1) == 1
        row.refresh_from_db()
        assert row.pending_jobs == pending
    assert not Outbox.objects.exists()
