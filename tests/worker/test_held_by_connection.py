"""Jobs of beanstalkd belong to a worker's connection, for a time that their pusher has chosen."""

from __future__ import annotations

from typing import Any

import pytest

from djqueue import queues
from tests import databases
from tests.app import jobs
from tests.services import Proxy
from tests.services.proxy import Mode
from tests.support import start_worker, wait_until
from tests.torture.troubles import together

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.beanstalkd,
    pytest.mark.skipif(databases.vendor() != "sqlite", reason="once is enough"),
]


def told(port: int, retry_after: float) -> dict[str, Any]:
    place = {"DRIVER": "beanstalkd", "PORT": port, "RETRY_AFTER": retry_after}
    return {"DEFAULT": "bean", "CONNECTIONS": {"bean": place}}


@pytest.fixture
def port(settings, beanstalkd_server, transactional_db):
    settings.DJQUEUE = told(beanstalkd_server.port, 10)
    queues["bean"].clear()
    yield beanstalkd_server.port
    queues.close_all()


@pytest.mark.slow
def test_a_job_that_is_held_for_a_shorter_time_than_its_worker_says_runs_once(port, ledger):
    overrides = {"DJQUEUE": told(port, 600)}
    with start_worker(overrides=overrides), start_worker(overrides=overrides):
        job = jobs.beating.dispatch(1, 12)
        wait_until(lambda: ledger.details("end") == ["1"], 30)
    assert ledger.count("begin") == {job.id: 1}


def test_what_a_broken_connection_held_ends_at_once(port, ledger):
    with Proxy(port) as proxy:
        jobs.beating.dispatch(1, 4)
        with start_worker(overrides={"DJQUEUE": told(proxy.port, 10)}) as cut:
            wait_until(lambda: ledger.lines("beat"))
            with start_worker():
                proxy.mode = Mode.REFUSE
                wait_until(lambda: ledger.details("end") == ["1"], 20)
            assert "RELEASED" in cut.output
    assert len(ledger.lines("begin")) == 2
    assert together(ledger.lines()) < 0.5
