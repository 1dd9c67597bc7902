"""A worker ends in time, whatever its store does, and leaves to others what it could not tell."""

from __future__ import annotations

import signal
import time
from itertools import dropwhile, pairwise
from typing import Any

import pytest

from djqueue import queues
from tests import elsewhere
from tests.app import jobs
from tests.services import Proxy
from tests.services.proxy import Mode
from tests.support import WorkerProcess, start_worker, wait_until
from tests.worker import buggy
from tests.worker.stores import connection_to

pytestmark = pytest.mark.scenario

FEW = pytest.mark.parametrize("proxy", ["postgresql", "redis"], indirect=True)
"""What the worker's parent does by itself: two stores show it."""
LEASE = 6
GRACE = 2


@pytest.fixture(params=["postgresql", "mariadb", "redis", "sqs", "beanstalkd"])
def proxy(request, settings, django_db_setup, django_db_blocker):
    """A proxy before the store of the default connection, and what a worker behind it is told."""
    with django_db_blocker.unblock():
        if request.param in ("postgresql", "mariadb"):
            server = request.getfixturevalue(f"{request.param}_server")
            place: dict[str, Any] = {"DRIVER": "database", "RETRY_AFTER": LEASE}
            settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": place}}
            with elsewhere.own_database(server) as database, Proxy(database["PORT"]) as proxy:
                yield proxy, {"DATABASES": {"default": {**database, "PORT": proxy.port}}}
            queues.close_all()
            return
        with elsewhere.own_database(request.getfixturevalue("postgresql_server")):
            place = {**connection_to(request.param, request), "RETRY_AFTER": 10}
            settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": place}}
            queues["store"].clear()
            with Proxy(_port(place)) as proxy:
                yield proxy, {"DJQUEUE": _through(place, proxy.port)}
            queues.close_all()


def _port(place: dict[str, Any]) -> int:
    return place["PORT"] if "PORT" in place else int(_url(place).rpartition(":")[2].split("/")[0])


def _url(place: dict[str, Any]) -> str:
    return str(place.get("URL") or place["ENDPOINT_URL"])


def _through(place: dict[str, Any], port: int) -> dict[str, Any]:
    if "PORT" in place:
        place = {**place, "PORT": port}
    else:
        key = "URL" if "URL" in place else "ENDPOINT_URL"
        old = f":{_port(place)}"
        place = {**place, key: place[key].replace(old, f":{port}")}
        if "URLS" in place:
            place["URLS"] = {q: u.replace(old, f":{port}") for q, u in place["URLS"].items()}
    return {"DEFAULT": "store", "CONNECTIONS": {"store": place}}


def _ends_in_time(worker: WorkerProcess, grace: float = GRACE) -> None:
    began = time.monotonic()
    worker.stop(grace + 20)
    took = time.monotonic() - began
    assert took < grace + 2.5, worker.output  # half a second for a busy machine


@pytest.mark.parametrize("mode", [Mode.STALL, Mode.REFUSE])
def test_a_worker_ends_in_time_while_its_store_gives_no_answer(proxy, plain_ledger, mode):
    jobs.sturdy.dispatch(1, 30.0)
    with start_worker("--grace", GRACE, overrides=proxy[1]) as worker:
        wait_until(lambda: plain_ledger.lines("begin"), timeout=15)
        proxy[0].mode = mode
        time.sleep(1)
        _ends_in_time(worker)
        assert "The ends of 1 job could not be stored" in worker.output
        assert not worker.children


@FEW
def test_a_worker_ends_in_time_when_the_lease_is_over_long_ago(proxy, plain_ledger):
    jobs.sturdy.dispatch(1, 30.0)
    with start_worker("--grace", GRACE, overrides=proxy[1]) as worker:
        wait_until(lambda: plain_ledger.lines("begin"), timeout=15)
        proxy[0].mode = Mode.STALL
        wait_until(lambda: "away for too long" in worker.output, timeout=25)
        time.sleep(1)
        _ends_in_time(worker)


def test_a_worker_waits_for_a_store_that_is_away_at_its_start(proxy, plain_ledger):
    proxy[0].mode = Mode.REFUSE
    with start_worker(overrides=proxy[1]) as worker, start_worker(overrides=proxy[1]) as other:
        wait_until(lambda: "until it answers" in worker.output, timeout=15)
        wait_until(lambda: "until it answers" in other.output, timeout=15)
        _ends_in_time(other, 0)
        jobs.record.dispatch(1)
        proxy[0].mode = Mode.PASS
        wait_until(lambda: plain_ledger.details("end") == ["1"], timeout=15)


@FEW
def test_a_second_signal_ends_a_worker_at_once(proxy, plain_ledger):
    jobs.sturdy.dispatch(1, 30.0)
    with start_worker("--grace", 60, overrides=proxy[1]) as worker:
        wait_until(lambda: plain_ledger.lines("begin"), timeout=15)
        proxy[0].mode = Mode.STALL
        worker.send(signal.SIGTERM)
        wait_until(lambda: "Finishing" in worker.output, timeout=15)
        _ends_in_time(worker, 0)


LISTENING = ("arrived", "close", "watch", "set_idle")


@pytest.mark.django_db(transaction=True)
def test_a_store_that_gave_no_answer_is_left_alone_for_a_moment_whatever_is_due(
    settings, plain_ledger
):
    """Else each of the things that are due would wait for it, one after the other."""
    place = {"DRIVER": "tests.worker.buggy.AwayDriver", "RETRY_AFTER": 8}
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": place}}
    jobs.record.dispatch(1, 0.5)
    with start_worker() as worker:
        wait_until(lambda: plain_ledger.lines("begin"))
        buggy.show("away")
        wait_until(lambda: "Trying again" in worker.output)
        wait_until(lambda: len(buggy.calls()) >= 8, timeout=8)
        assert worker.is_running
    # Who only listens is told in its own way: from the first call for which the store is needed.
    asked = list(dropwhile(lambda call: call[1] in LISTENING, buggy.calls()))[:5]
    between = [after[0] - before[0] for before, after in pairwise(asked)]
    assert all(gap > 0.1 * 2**number * 0.95 for number, gap in enumerate(between)), asked
