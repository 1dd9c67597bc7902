"""The end of an atomic job that is bound to others, where it is not in the database of that."""

import pytest

from djqueue import batch, chain, queues
from djqueue.composition.finishing import finish_for
from djqueue.composition.running import Bound
from djqueue.conf import settings as current
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import Settlement, Verdict
from djqueue.drivers.redis.driver import RedisDriver
from djqueue.models import FailedJob, Outbox, Run
from djqueue.operations.retrying import retry
from djqueue.runner.atomic import committed
from djqueue.runner.decision import DONE, FAIL, Ending
from djqueue.runner.outcome import End, ErrorReport, Outcome
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from djqueue.testing import work
from tests.composition import jobs
from tests.composition.jobs import ran

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "queue", "other"])


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@pytest.fixture
def far_connection(settings):
    """A connection whose jobs are in another database than what follows from them."""
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "far": {"DRIVER": "database", "DATABASE": "queue"},
        },
        "DEFAULT": "database",
    }
    assert current().default == "database"
    yield "far"
    Run.objects.using("queue").all().delete()
    Run.objects.using("other").all().delete()


def work_on(connection):
    """Run what waits, and what is on its way through the outbox."""
    while work(connection) or outbox.replay():
        pass


def run_and_die(connection):
    """Let the next job of a connection run, in its transaction, and its worker die then. Returns
    what another worker finds.
    """
    session = queues[connection].driver.session()
    finish = finish_for(session, connection)
    (held,) = session.exchange((), ["default"], 1).reservations
    runner = Runner(connection, Rules(), finish=lambda: finish, binding=Bound(lambda: finish))
    assert runner.run(runner.attempt(held)).decision is DONE
    return session, held


def test_a_job_beside_another_database_is_followed(far_connection):
    row = batch([chain([jobs.atomic.bind(1), jobs.atomic.bind(2)])]).using(connection="far")
    row = row.dispatch()
    kept = jobs.atomic_once_broken.using(connection="far", tries=2).dispatch()
    work_on("far")
    assert [each for each in ran if isinstance(each, tuple)] == [(1, None), (2, 1)]
    row.refresh_from_db()
    assert row.finished
    assert kept.result(timeout=1) == "mended"


@pytest.mark.parametrize("connection", ["redis", "database"])
def test_a_job_in_a_transaction_elsewhere_is_followed(redis_connection, connection):
    steps = [jobs.atomic_elsewhere.bind(1), jobs.number.bind(2)]
    row = batch([chain(steps)]).using(connection=connection).dispatch()
    work_on(connection)
    assert ran == [(1, None), (2, 1)]
    row.refresh_from_db()
    assert row.finished


def test_a_job_is_followed_though_its_worker_died_behind_its_commit(far_connection):
    steps = [jobs.atomic.bind(1), jobs.number.bind(2)]
    row = batch([chain(steps)]).using(connection="far").dispatch()
    session, held = run_and_die("far")
    session.settle([Settlement(held, Verdict.INTERRUPTED)])
    work_on("far")
    assert ran == [(1, None), (2, 1)]
    row.refresh_from_db()
    assert row.finished
    assert not row.failed_jobs


def test_a_job_whose_process_died_behind_its_commit_has_not_failed(far_connection):
    steps = [jobs.atomic.bind(1), jobs.number.bind(2)]
    row = batch([chain(steps)]).using(connection="far").dispatch()
    session, held = run_and_die("far")
    finish = finish_for(session, "far")
    error = ErrorReport("djqueue.errors.ProcessDied", "It died.", "")
    finish.add([End(held, Outcome(Ending.DIED, FAIL, error, unseen=True))])
    finish.store_followed()
    work_on("far")
    assert ran == [(1, None), (2, 1)]
    assert not FailedJob.objects.exists()
    row.refresh_from_db()
    assert row.finished


def test_a_job_that_was_deleted_while_it_ran_commits_nothing(far_connection):
    chain([jobs.atomic_deleted.bind(), jobs.number.bind(2)]).using(connection="far").dispatch()
    work_on("far")
    assert ran == ["deleted"]
    assert not Run.objects.using("queue").exists()


def test_a_retried_job_runs_again(redis_connection):
    dispatched = jobs.atomic_once_broken.using(connection="redis").dispatch()
    work("redis")
    assert dispatched.status == "failed"
    assert retry().moved == 1
    (waiting,) = queues["redis"].peek()
    held = type("Held", (), {"id": waiting.id, "payload": waiting.payload})
    assert committed("default", queues["redis"].driver.session(), held) is None
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
