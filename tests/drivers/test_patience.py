"""No call of a worker to its database waits for longer than it may, whatever keeps the answer."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.utils import load_backend

from djqueue.databases.connection import BoundConnection, bounded
from djqueue.dispatch import controls
from djqueue.drivers.base import (
    OutgoingJob,
    Reservation,
    Settlement,
    Verdict,
    WorkerIdentity,
)
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.guard import Claim, Delivery, Guard
from djqueue.errors import QueueUnavailable
from djqueue.models import Control, QueuedJob
from tests import databases, elsewhere
from tests.faces import database
from tests.services.proxy import Mode, Proxy

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(databases.vendor() == "sqlite", reason="it has no server"),
]
WORKER = WorkerIdentity("worker", "host", 1, ("default",), 20.0)
PATIENCE = 0.4 if databases.vendor() == "postgresql" else 1.0
# To connect takes libpq two seconds at least before it gives up.
CONNECTING = 2.8 if databases.vendor() == "postgresql" else 2.2
LONGEST = PATIENCE + 1.2


def job() -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), "default", "app.record", "{}")


@pytest.fixture
def network(transactional_db):
    """`default` by way of a proxy."""
    with (
        Proxy(int(connection.settings_dict["PORT"])) as proxy,
        elsewhere.default_is({"PORT": proxy.port}),
    ):
        yield proxy


@pytest.fixture
def driver(network):
    """A worker's, that holds two jobs."""
    driver = joined()
    yield driver
    network.mode = Mode.PASS
    driver.close()


def joined() -> DatabaseDriver:
    driver = database()
    driver.patience = PATIENCE
    driver.push([job(), job(), job()])
    driver.join(WORKER)
    driver.watch(["default"])
    return driver


@contextlib.contextmanager
def gives_up(within: float = LONGEST) -> Iterator[None]:
    """The block raises `QueueUnavailable` soon."""
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        yield
    assert time.monotonic() - begun < within


CALLS: dict[str, Callable[[DatabaseDriver, Any], object]] = {
    "exchange": lambda driver, held: driver.exchange([Settlement(held)], ["default"], 1),
    "put back": lambda driver, held: driver.settle([Settlement(held, Verdict.RETURN)]),
    "extend": lambda driver, held: driver.extend([held]),
    "promote": lambda driver, held: driver.promote(["default", "other"]),
    "recover": lambda driver, held: driver.recover(10),
    "unacknowledged": lambda driver, held: driver.unacknowledged([held]),
    "watch": lambda driver, held: driver.watch(["default"]),
    "join": lambda driver, held: driver.join(WORKER),
    "leave": lambda driver, held: driver.leave(),
    "counts": lambda driver, held: driver.counts("default"),
    "push": lambda driver, held: driver.push([job()]),
    "push many": lambda driver, held: driver.push([job() for _ in range(100)]),
}


def test_a_silent_network_ends_every_call(driver, network):
    (held,) = driver.exchange([], ["default"], 1).reservations
    for name, call in CALLS.items():
        if name == "watch" and databases.vendor() != "postgresql":
            continue  # it is not asked anything
        driver.extend([held])
        network.mode = Mode.STALL
        begun = time.monotonic()
        with gives_up():
            call(driver, held)
        assert time.monotonic() - begun > PATIENCE * 0.7, name
        network.mode = Mode.PASS
        driver.reset_connection(QueueUnavailable())
    driver.extend([held])
    assert driver.exchange([], ["default"], 1).reservations


def test_a_silent_network_ends_the_attempt_to_connect(driver, network):
    (held,) = driver.exchange([], ["default"], 1).reservations
    network.mode = Mode.STALL
    driver.reset_connection(QueueUnavailable())
    for call in ("exchange", "put back"):
        with gives_up(CONNECTING):
            CALLS[call](driver, held)


def test_an_answer_that_is_awaited_has_an_end(driver, network):
    if databases.vendor() != "postgresql":
        pytest.skip("nothing is awaited there")
    driver.exchange([], ["default"], 1)
    network.mode = Mode.STALL
    answer = driver.begin([], ["default"], 1)
    assert answer is not None
    assert not answer.is_there()
    with gives_up():
        while not answer.is_there():
            time.sleep(0.01)


@contextlib.contextmanager
def locked(sql: str, *, unlock: str = "") -> Iterator[None]:
    """Another session keeps a lock."""
    backend = load_backend(connection.settings_dict["ENGINE"])
    other = backend.DatabaseWrapper(connection.settings_dict, "default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(sql)
        yield
    finally:
        if unlock:
            with other.cursor() as cursor:
                cursor.execute(unlock)
        other.rollback()
        other.close()


@contextlib.contextmanager
def table_locked(name: str) -> Iterator[None]:
    if databases.vendor() == "postgresql":
        with locked(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"):
            yield
    else:
        with locked(f"LOCK TABLES {name} WRITE", unlock="UNLOCK TABLES"):
            yield


def test_a_locked_table_ends_the_call(driver):
    (held,) = driver.exchange([], ["default"], 1).reservations
    for call in ("exchange", "promote", "unacknowledged", "counts", "push"):
        with table_locked("jobs"), gives_up():
            CALLS[call](driver, held)
        driver.reset_connection(QueueUnavailable())
    assert driver.extend([held]) == set()


def test_a_locked_row_ends_the_sign_of_life(driver):
    with locked("SELECT id FROM djqueue_workers FOR UPDATE"), gives_up():
        driver.extend([])
    driver.extend([])


@pytest.mark.postgresql
def test_nothing_that_nobody_waits_for_goes_on_waiting_in_the_server(
    driver,
):
    """Neither where the server was told to give up nor where it is asked to, as behind a pooler."""
    for _ in range(2):
        with table_locked("jobs"), gives_up():
            driver.unacknowledged([])
        driver.reset_connection(QueueUnavailable())
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            assert cursor.fetchone() == (0,)
        own = connections["default"]
        assert isinstance(own, BoundConnection)
        with own.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET lock_timeout = 0")
        own.bound.server_ends = False


def test_a_worker_that_stops_has_less_patience(driver, network):
    driver.patience = 3.0
    driver.close()
    driver.extend([])
    driver.patience = PATIENCE
    with locked("SELECT id FROM djqueue_workers FOR UPDATE"), gives_up():
        driver.extend([])


def test_other_sql_of_a_worker_has_an_end_too(network):
    controls.pause("database", "default")
    with bounded("default", PATIENCE):
        assert controls.read("database")[0] == {"default"}
    for mode in (Mode.STALL, Mode.REFUSE):
        network.mode = mode
        for _ in range(2):
            with gives_up(CONNECTING), bounded("default", PATIENCE):
                controls.read("database")
    network.mode = Mode.PASS
    with bounded("default", PATIENCE):
        assert controls.read("database")[0] == {"default"}


def test_a_session_that_the_server_ended_is_opened_anew(network):
    with bounded("default", PATIENCE):
        controls.read("database")
    network.mode = Mode.REFUSE
    network.mode = Mode.PASS
    with gives_up(), bounded("default", PATIENCE):
        controls.read("database")
    with bounded("default", PATIENCE):
        controls.read("database")


def test_what_is_refused_is_not_taken_for_an_outage(network):
    controls.pause("database", "default")
    with pytest.raises(IntegrityError), bounded("default", PATIENCE), transaction.atomic():
        Control.objects.create(scope=Control.objects.get().scope, updated_at="2026-01-01T00:00Z")
    with pytest.raises(DatabaseError), bounded("default", PATIENCE), transaction.atomic():
        QueuedJob.objects.create(
            queue="q" * 300,
            uuid=uuid.uuid4(),
            payload="",
            name="",
            available_at="2026-01-01T00:00Z",
            created_at="2026-01-01T00:00Z",
        )


# -- guard rows ------------------------------------------------------------------------------------


def guard_calls(guard: Guard, held: Claim) -> list[Callable[[], object]]:
    kept = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    return [
        lambda: guard.take([Delivery(str(uuid.uuid4()), "2")], {}),
        lambda: guard.take([Delivery(held.id, "1")], {}),
        lambda: guard.put_back([(Settlement(kept, Verdict.RETURN), held.number)]),
        lambda: guard.end([held]),
        lambda: guard.extend([held]),
        lambda: guard.delete([held]),
        lambda: guard.cancelled([held.id]),
    ]


@pytest.fixture
def guard(network):
    guard = Guard("default", 60.0)
    guard.patience = PATIENCE
    yield guard
    network.mode = Mode.PASS
    guard.close()


def test_a_silent_network_ends_every_call_about_guard_rows(guard, network):
    held = Claim(str(uuid.uuid4()), 1)
    for call in guard_calls(guard, held):
        network.mode = Mode.PASS
        guard.take([Delivery(held.id, "1")], {})
        guard.delete([held])
        guard.take([Delivery(held.id, "1")], {})
        network.mode = Mode.STALL
        with gives_up():
            call()


def test_a_lock_on_the_guard_rows_ends_every_call(guard):
    if databases.vendor() != "postgresql":
        pytest.skip("it locks whole tables in another way")
    held = Claim(str(uuid.uuid4()), 1)
    guard.take([Delivery(held.id, "1")], {})
    with locked("LOCK TABLE djqueue_runs"):
        for call in guard_calls(guard, held):
            with gives_up():
                call()
    assert guard.end([held]) == set()
