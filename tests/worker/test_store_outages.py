"""A store beside the database is killed under load: workers go on, and nothing is lost."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from djqueue import dispatch_many, queues
from djqueue.models import FailedJob, Run
from tests import services
from tests.app import jobs
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.scenario

JOBS = int(os.environ.get("DJQUEUE_TEST_OUTAGE_JOBS", "800"))
AWAY = float(os.environ.get("DJQUEUE_TEST_OUTAGE", "1"))
RESUMED = 5.0
"""Seconds after which workers have found a server that is back."""


@pytest.fixture(params=["redis", "redis-everysec", "beanstalkd"])
def server(request, settings):
    """A server of the test's own that writes down what it has, and a connection to it."""
    if request.param == "beanstalkd":
        server: services.Server = services.Beanstalkd(binlog=True)
    else:
        server = services.Redis(aof="everysec" if "everysec" in request.param else "always")
    with server:
        place: dict[str, Any] = {"DRIVER": "redis", "URL": server.url}
        if request.param == "beanstalkd":
            place = {"DRIVER": "beanstalkd", "HOST": server.host, "PORT": server.port}
        settings.DJQUEUE = {
            "DEFAULT": "store",
            "CONNECTIONS": {"store": {**place, "RETRY_AFTER": 10}},
        }
        yield server
        queues.close_all()


def test_workers_go_on_when_their_server_was_killed(server, request, ledger):
    each = JOBS // 3
    with start_worker("--workers", 2) as one, start_worker("--workers", 2) as two:
        resumed = []
        for turn, stop in enumerate((server.kill9, server.halt, server.kill9)):
            before = len(ledger.lines("end"))
            dispatch_many(jobs.sturdy.bind(turn * each + n, 0.01) for n in range(each))
            wait_until(lambda b=before: len(ledger.lines("end")) > b + each // 5)
            stop()
            time.sleep(AWAY)
            server.start()
            began, before = time.monotonic(), len(ledger.lines("end"))
            jobs.sturdy.dispatch(-1, 0)
            wait_until(lambda b=before: len(ledger.lines("end")) > b, timeout=RESUMED)
            resumed.append(time.monotonic() - began)
        numbers = {str(number) for number in (-1, *range(3 * each))}
        wait_until(lambda: set(ledger.details("end")) == numbers, timeout=60 + JOBS / 50)
        wait_until(lambda: queues["store"].is_empty(), timeout=15)
        assert one.is_running
        assert two.is_running
        assert one.stop() == two.stop() == 0
        output = one.output + two.output
    again = {id: runs - 1 for id, runs in ledger.count("begin").items() if runs > 1}
    print(
        f"{request.node.name}: {JOBS} jobs, away 3 times, resumed after"
        f" {', '.join(f'{seconds:.1f} s' for seconds in resumed)},"
        f" {sum(again.values())} extra runs"
    )
    # beanstalkd gives what one worker held to the other as soon as the connection breaks.
    unexplained = sum(output.count(id) < runs + 1 for id, runs in again.items())
    assert not unexplained
    assert isinstance(server, services.Beanstalkd) or not again
    assert not FailedJob.objects.exists()
    # A deletion whose answer never came leaves a row behind, which gets old and is pruned.
    assert Run.objects.count() < 100
