"""Everything works through PgBouncer in transaction mode, where no session is anybody's own.

The tests of this file's second half are those of a worker on the database itself.
"""

from __future__ import annotations

import time

import pytest
from django.db import connection

from djqueue import dispatch_many
from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import Driver
from djqueue.models import QueuedJob, Worker
from tests import elsewhere
from tests import ledger as ledgers
from tests.app import jobs
from tests.drivers.test_database import TestContract as ContractOnTheDatabase
from tests.faces import database
from tests.support import start_worker, wait_until
from tests.worker.test_running import *  # noqa: F403 - each of them, through the pooler

# It reads all that a worker prints, and this one prints a warning.
del test_json_output_is_one_object_a_line  # noqa: F821
# Nobody is woken through a pooler.
del test_a_free_child_is_woken_beside_a_busy_one  # noqa: F821

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

WARNING = 'Notifications do not arrive from database "default"'


@pytest.fixture(autouse=True)
def through_the_pooler(transactional_db, pgbouncer_server):
    """`default` is reached through PgBouncer, here and in workers."""
    name = connection.settings_dict["NAME"]
    pooled = elsewhere.settings_of(pgbouncer_server, str(name))
    # What Django itself needs behind a pooler.
    with elsewhere.default_is({**pooled, "DISABLE_SERVER_SIDE_CURSORS": True}):
        yield


@pytest.fixture
def ledger(through_the_pooler):
    with ledgers.kept() as ledger:
        yield ledger


@pytest.mark.scenario
class TestContract(ContractOnTheDatabase):
    def make_driver(self) -> Driver:
        # Polled: each driver would wait a second for the echo.
        options = {"LISTEN": False, "PREPARE": False}
        settings = ConnectionSettings("database", "database", options=options)
        return type(super().make_driver())(settings)


def test_the_pooler_is_found_out_and_the_queue_is_polled(ledger):
    with start_worker("--sleep", 0.2) as worker:
        wait_until(lambda: WARNING in worker.output)
        time.sleep(0.5)
        jobs.record.dispatch(1)
        wait_until(lambda: ledger.lines("end"), timeout=3)
        assert worker.output.count(WARNING) == 1
        assert not Worker.objects.filter(idle=True).exists()


def test_who_knows_of_the_pooler_is_not_warned(ledger, settings):
    own = {"DRIVER": "database", "LISTEN": False, "PREPARE": False}
    settings.DJQUEUE = {"CONNECTIONS": {"database": own}}
    jobs.record.dispatch(1)
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait() == 0
        assert WARNING not in worker.output
    assert len(ledger.lines("end")) == 1


def test_several_workers_share_server_sessions_without_a_prepared_statement(
    ledger,
):
    dispatch_many(jobs.write_note.bind(number) for number in range(600))
    with start_worker("--stop-when-empty") as one, start_worker("--stop-when-empty") as two:
        assert one.wait(60) == two.wait(60) == 0
        output = one.output + two.output
    assert "prepared statement" not in output
    assert "is unavailable" not in output
    assert not QueuedJob.objects.exists()


def test_a_worker_without_a_pooler_prepares_its_statements(transactional_db, through_the_pooler):
    """The pooler's own guard: directly, the same worker does have prepared statements."""
    from djqueue.drivers.base import WorkerIdentity

    def prepared_by(changes: dict[str, object]) -> int:
        with elsewhere.default_is(changes):
            driver = database()
            driver.join(WorkerIdentity("worker", "host", 1, ("default",), 20.0))
            wakeup = driver.watch(["default"])
            driver.exchange([], ["default"], 1)
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_prepared_statements")
                count = cursor.fetchone()[0]
            assert (wakeup is None) == (count == 0)
            driver.leave()
            driver.close()
        return int(count)

    direct = {"HOST": "127.0.0.1", "PORT": _port_of_the_server()}
    assert prepared_by({}) == 0
    assert prepared_by(direct) == 1


def _port_of_the_server() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inet_server_port()")
        return int(cursor.fetchone()[0])
