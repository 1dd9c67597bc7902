"""A worker whose row, or whose tables, somebody else changes goes on with what it holds."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

import pytest
from django.db import connection, connections
from django.db.utils import load_backend

from djqueue.drivers.base import OutgoingJob, Settlement, WorkerIdentity
from djqueue.drivers.database.vendors import postgresql
from djqueue.errors import QueueUnavailable
from djqueue.models import QueuedJob, Worker
from tests import databases, elsewhere
from tests.faces import database

pytestmark = pytest.mark.django_db(transaction=True)
IDENTITY = WorkerIdentity("worker", "host", 1, ("default",), 20.0)


@pytest.fixture
def driver(transactional_db):
    """A worker's."""
    driver = database()
    driver.push([OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}") for _ in range(4)])
    driver.join(IDENTITY)
    driver.watch(["default"])
    yield driver
    driver.close()
    del connections["default"]


def test_a_worker_whose_row_is_removed_keeps_its_jobs(driver):
    held = driver.exchange([], ["default"], 3).reservations
    Worker.objects.all().delete()
    QueuedJob.objects.filter(uuid=held[0].id).delete()
    assert driver.extend(held) == {held[0].id}
    key = Worker.objects.get().pk
    assert set(QueuedJob.objects.values_list("reserved_by", flat=True)) == {key, None}
    QueuedJob.objects.filter(reserved_by=key).update(reserved_until="2026-01-01T00:00Z")
    other = database()
    assert other.recover(10) == []
    assert driver.settle([Settlement(one) for one in held[1:]]) == set()


def test_a_row_with_the_same_key_may_be_somebody_elses(driver):
    held = driver.exchange([], ["default"], 1).reservations
    Worker.objects.update(hostname="another", alive_until="2026-01-01T00:00Z")
    assert driver.extend(held) == set()
    assert Worker.objects.count() == 2
    mine = Worker.objects.get(hostname="host")
    assert QueuedJob.objects.get(uuid=held[0].id).reserved_by == mine.pk
    theirs = Worker.objects.get(hostname="another")
    assert theirs.alive_until.year == 2026
    assert theirs.alive_until < mine.alive_until


def _run(*statements: str, settings: dict[str, Any] | None = None) -> None:
    settings = settings or connection.settings_dict
    other = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "default")
    with contextlib.closing(other), other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_tables_that_change_are_an_outage_of_a_worker_that_runs(driver):
    held = driver.exchange([], ["default"], 1).reservations
    _run("ALTER TABLE jobs RENAME TO elsewhere")
    try:
        for call in (
            lambda: driver.exchange([], ["default"], 1),
            lambda: driver.exchange([Settlement(held[0])], ["default"], 1),
            lambda: driver.promote(["default"]),
            lambda: driver.extend(held),
        ):
            with pytest.raises(QueueUnavailable):
                call()
            driver.reset_connection(QueueUnavailable())
    finally:
        driver.close()
        _run("ALTER TABLE elsewhere RENAME TO jobs")
    assert driver.exchange([Settlement(held[0])], ["default"], 1).lost == set()


@pytest.mark.postgresql
def test_a_plan_whose_result_changes_is_made_anew(driver):
    held = driver.exchange([], ["default"], 1).reservations
    _run("ALTER TABLE jobs ALTER COLUMN name TYPE varchar(300)")
    try:
        with pytest.raises(QueueUnavailable):
            driver.exchange([], ["default"], 1)
        driver.reset_connection(QueueUnavailable())
        driver.watch(["default"])
        answer = driver.exchange([Settlement(one) for one in held], ["default"], 1)
        assert (answer.lost, len(answer.reservations)) == (set(), 1)
    finally:
        driver.close()
        _run("ALTER TABLE jobs ALTER COLUMN name TYPE varchar(255)")


@pytest.mark.skipif(databases.vendor() == "sqlite", reason="it locks the whole database")
def test_looking_for_the_dead_waits_for_no_lock(driver):
    """CREATE INDEX takes such a lock, for as long as it takes."""
    lock = (
        "LOCK TABLE jobs, djqueue_workers IN SHARE MODE"
        if databases.vendor() == "postgresql"
        else "LOCK TABLES jobs READ, djqueue_workers READ"
    )
    backend = load_backend(connection.settings_dict["ENGINE"])
    other = backend.DatabaseWrapper(connection.settings_dict, "default")
    other.set_autocommit(False)
    Worker.objects.create(
        name="dead", hostname="h", pid=1, started_at="2026-01-01T00:00Z",
        alive_until="2099-01-01T00:00Z",
    )  # fmt: skip
    with contextlib.closing(other), other.cursor() as cursor:
        cursor.execute(lock)
        begun = time.monotonic()
        assert driver.recover(10) == []
        assert time.monotonic() - begun < 0.5


@pytest.mark.postgresql
def test_whether_notifications_arrive_is_tried_again(transactional_db, monkeypatch):
    """At first the role has no connection left for the trial."""
    name = f"limited_{uuid.uuid4().hex[:8]}"
    admin = connection.settings_dict
    _run(
        f"CREATE ROLE {name} LOGIN PASSWORD 'x' CONNECTION LIMIT 1",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    driver = database()
    try:
        with elsewhere.default_is({"USER": name, "PASSWORD": "x"}):
            driver.join(IDENTITY)
            monkeypatch.setattr(postgresql, "ASK_AGAIN_SOON", 0.0)
            assert driver.watch(["default"]) is None
            assert driver.watch(["default"]) is None
            _run(f"ALTER ROLE {name} CONNECTION LIMIT 5", settings=admin)
            wakeup = driver.watch(["default"])
            assert wakeup is not None
            wakeup.close()
            driver.close()
            del connections["default"]
    finally:
        _run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")
