"""What a database refuses for its content keeps nothing else waiting, and has a failed row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections

from djqueue import queues
from djqueue.models import FailedJob, QueuedJob
from tests import elsewhere
from tests import ledger as ledgers
from tests.app import jobs
from tests.ledger import Ledger
from tests.services import MariaDB, PostgreSQL
from tests.support import start_worker, wait_until
from tests.worker.stores import connection_to

TEXT = "\U0001f4a3 naïve Ω \u200f"


@pytest.fixture(params=["postgresql", "mariadb"])
def server(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[PostgreSQL | MariaDB]:
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


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with ledgers.kept() as ledger:
        yield ledger


@pytest.mark.parametrize("store", ["database", "redis"])
def test_a_failure_that_cannot_be_written_as_it_is_is_written_in_ascii(
    request: pytest.FixtureRequest,
    settings: Any,
    ledger: Ledger,
    server: PostgreSQL | MariaDB,
    store: str,
) -> None:
    if store != "database":
        connections_ = {"store": connection_to(store, request)}
        settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": connections_}
    jobs.boom.dispatch("plain")
    jobs.boom_with.dispatch(TEXT.encode().hex())
    for number in range(4):
        jobs.record.dispatch(number)
    with start_worker() as worker:
        wait_until(lambda: len(ledger.lines("end")) == 4, timeout=15)
        wait_until(lambda: FailedJob.objects.count() == 2, timeout=15)
        wait_until(lambda: queues[None].is_empty(), timeout=5)
        assert worker.stop(10) == 0
    messages = sorted(FailedJob.objects.values_list("exception_message", flat=True))
    assert messages[1] == "plain"
    assert "\\ud83d\\udca3" in messages[0]
    assert set(ledger.count("begin").values()) == {1}
    queues.close_all()


def test_without_a_table_a_failed_job_waits_and_no_other(
    ledger: Ledger, server: PostgreSQL | MariaDB
) -> None:
    jobs.boom.dispatch("no row")
    jobs.record.dispatch(1)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE failed_jobs RENAME TO failed_jobs_away")
    with start_worker() as worker:
        wait_until(lambda: ledger.details("end") == ["1"], timeout=15)
        wait_until(lambda: "takes no row about it" in worker.output, timeout=15)
        wait_until(lambda: QueuedJob.objects.filter(reserved_at=None).count() == 1)
        assert worker.stop(10) == 0
