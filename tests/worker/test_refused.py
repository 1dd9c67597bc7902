"""What a database refuses for its content keeps nothing else waiting, and has a failed row."""

from __future__ import annotations

import uuid

import pytest
from django.core.management import call_command
from django.db import connection, connections

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob, QueuedJob
from tests import databases, elsewhere
from tests.app import jobs
from tests.services import MariaDB, PostgreSQL
from tests.support import start_worker, wait_until
from tests.worker.stores import connection_to

LONG = 40.0
"""Seconds for which a busy machine is waited for."""
TEXT = "\U0001f4a3 naïve Ω \u200f"


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request, django_db_setup, django_db_blocker):
    """A server, with `default` on a database that has not all characters."""
    server: PostgreSQL | MariaDB = request.getfixturevalue(f"{request.param}_server")
    name = f"narrow_{uuid.uuid4().hex[:8]}"
    with django_db_blocker.unblock():
        if isinstance(server, PostgreSQL):
            server.psql(
                f"CREATE DATABASE {name} ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
                " TEMPLATE template0"
            )
        else:
            root = elsewhere.settings_of(server, "mysql")
            with elsewhere.default_is(root), connections["default"].cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb3")
        with elsewhere.default_is(elsewhere.settings_of(server, name)):
            call_command("migrate", verbosity=0, database="default", run_syncdb=True)
            yield server


@pytest.mark.parametrize("store", ["database", "redis"])
def test_a_failure_that_cannot_be_written_as_it_is_is_written_in_ascii(
    request,
    settings,
    plain_ledger,
    server,
    store,
):
    if store != "database":
        connections_ = {"store": connection_to(store, request)}
        settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": connections_}
    jobs.boom.dispatch("plain")
    jobs.boom_with.dispatch(TEXT.encode().hex())
    for number in range(4):
        jobs.record.dispatch(number)
    with start_worker() as worker:
        wait_until(lambda: len(plain_ledger.lines("end")) == 4, timeout=15)
        wait_until(lambda: FailedJob.objects.count() == 2, timeout=15)
        wait_until(lambda: queues[None].is_empty(), timeout=5)
        assert worker.stop(10) == 0
    messages = sorted(FailedJob.objects.values_list("exception_message", flat=True))
    assert messages[1] == "plain"
    assert "\\ud83d\\udca3" in messages[0]
    assert set(plain_ledger.count("begin").values()) == {1}
    queues.close_all()


def test_without_a_table_a_failed_job_waits_and_no_other(plain_ledger, server):
    jobs.boom.dispatch("no row")
    jobs.record.dispatch(1)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE failed_jobs RENAME TO failed_jobs_away")
    with start_worker() as worker:
        wait_until(lambda: plain_ledger.details("end") == ["1"], timeout=15)
        wait_until(lambda: "does not record it" in worker.output, timeout=15)
        wait_until(lambda: QueuedJob.objects.filter(reserved_at=None).count() == 1)
        assert worker.stop(10) == 0


REFUSING = {
    "sqlite": "CREATE TRIGGER refusing BEFORE DELETE ON jobs"
    " WHEN OLD.name IN ('app.nothing', 'app.boom') BEGIN SELECT RAISE(ABORT, 'it stays'); END",
    "postgresql": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE EXCEPTION 'it stays' USING ERRCODE = 'check_violation'; END $$;"
    " CREATE TRIGGER refusing BEFORE DELETE ON jobs FOR EACH ROW"
    " WHEN (OLD.name IN ('app.nothing', 'app.boom')) EXECUTE FUNCTION refuse()",
    "mariadb": "CREATE TRIGGER refusing BEFORE DELETE ON jobs FOR EACH ROW BEGIN"
    " IF OLD.name IN ('app.nothing', 'app.boom') THEN SIGNAL SQLSTATE '23000'"
    " SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = 'it stays'; END IF; END",
}


@pytest.fixture
def refusing(transactional_db):
    """The database under test lets nobody delete jobs of two names."""
    with connection.cursor() as cursor:
        cursor.execute(REFUSING[databases.vendor()])
    yield
    with connection.cursor() as cursor:
        if databases.vendor() == "postgresql":
            cursor.execute("DROP FUNCTION refuse() CASCADE")
        else:
            cursor.execute("DROP TRIGGER refusing")


def test_a_removal_that_is_refused_keeps_no_other_waiting(plain_ledger, refusing):
    dispatch_many([jobs.record.bind(1), jobs.nothing.bind(), jobs.record.bind(2)])
    refused = QueuedJob.objects.get(name="app.nothing")
    with start_worker("--workers", 1) as worker:
        wait_until(lambda: QueuedJob.objects.count() == 1, LONG)
        wait_until(lambda: "could not be stored" in worker.output, LONG)
        jobs.record.dispatch(3)
        wait_until(lambda: plain_ledger.details("end") == ["1", "2", "3"], LONG)
        wait_until(lambda: QueuedJob.objects.count() == 1, LONG)
        assert worker.stop(10) == 0
        told = f"The end of app.nothing {refused.uuid} could not be stored:"
        assert worker.output.count(told) == 1
        assert "it stays" in worker.output
    refused.refresh_from_db()
    assert refused.reserved_at  # until its lease is over
    assert set(plain_ledger.count("begin").values()) == {1}


@pytest.mark.django_db(transaction=True, databases=["default", "queue"])
@pytest.mark.parametrize("rows", ["default", "queue"])
def test_a_failure_whose_job_cannot_be_removed_keeps_no_other_waiting(
    settings, plain_ledger, refusing, rows
):
    """Wherever its row would be: it is there or in its queue, not in both."""
    settings.DJQUEUE = {"FAILED_JOBS": {"DATABASE": rows}}
    jobs.boom.dispatch("stays")
    dispatch_many(jobs.record.bind(number) for number in range(3))
    with start_worker("--workers", 1) as worker:
        wait_until(lambda: len(plain_ledger.lines("end")) == 3, LONG)
        wait_until(lambda: "runs again in 60 s" in worker.output, LONG)
        wait_until(lambda: QueuedJob.objects.count() == 1, LONG)
        wait_until(lambda: QueuedJob.objects.filter(reserved_at=None).exists(), LONG)
        assert worker.stop(10) == 0
    assert not FailedJob.objects.using(rows).exists()
    assert set(plain_ledger.count("begin").values()) == {1}
