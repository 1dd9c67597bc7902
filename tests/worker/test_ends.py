"""What has to end ends in time, with all that it has started, whatever the parent waits for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from djqueue.models import FailedJob, QueuedJob
from tests import elsewhere
from tests import ledger as ledgers
from tests.app import jobs, programs
from tests.ledger import Ledger
from tests.services import Proxy
from tests.services.proxy import Mode
from tests.support import WorkerProcess, start_worker, wait_until

pytestmark = pytest.mark.scenario

GRACE = 1.0
SLOW = 0.7
"""Seconds that a busy machine may add."""
LEASE = 3.0


class Blocked:
    """A worker whose parent can be made to wait for its store without end."""

    def __init__(self, ledger: Ledger, proxy: Proxy, settings: dict[str, Any]) -> None:
        self.ledger = ledger
        self.proxy = proxy
        through = {**settings, "HOST": proxy.host, "PORT": proxy.port}
        self.overrides = {"DATABASES": {"default": through}}

    def start(self, *arguments: object) -> Any:
        return start_worker("--grace", GRACE, *arguments, overrides=self.overrides)

    def begun(self, count: int = 1) -> list[int]:
        """The process that runs the job, and the programs that it has started."""
        wait_until(lambda: len(self.ledger.lines("begin")) >= count)
        lines = [*self.ledger.details("begin"), *self.ledger.details("program")]
        return [int(pid) for pid in lines]

    def block(self, worker: WorkerProcess, how: str) -> None:
        if how == "stalled":
            self.proxy.mode = Mode.STALL
            time.sleep(1.1)  # the parent looks at its store once a second: it waits now
        else:
            worker.send(signal.SIGSTOP)


@pytest.fixture
def blocked(django_db_setup, django_db_blocker, postgresql_server, settings):
    with (
        django_db_blocker.unblock(),
        elsewhere.own_database(postgresql_server) as own,
        ledgers.kept() as ledger,
        Proxy(postgresql_server.port) as proxy,
    ):
        yield Blocked(ledger, proxy, own)


def gone(pids: list[int], within: float) -> float:
    """Wait until none of these processes runs; after how many seconds."""
    began = time.monotonic()
    wait_until(lambda: not any(map(_is_alive, pids)), within + SLOW, what=f"{pids} are gone")
    return time.monotonic() - began


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


HOW = pytest.mark.parametrize("how", ["stalled", "stopped"])


@HOW
def test_the_end_of_the_lease(blocked, settings, how):
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database", "RETRY_AFTER": LEASE}}}
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        blocked.block(worker, how)
        gone(began, LEASE)
        with start_worker(overrides={}) as other:
            wait_until(lambda: len(blocked.ledger.lines("begin")) == 2, 15)
            blocked.proxy.mode = Mode.PASS
            worker.send(signal.SIGCONT)
            other.kill()
            worker.kill()
    assert [line.attempt for line in blocked.ledger.lines("begin")] == [1, 1]


@HOW
def test_a_hard_timeout(blocked, how):
    programs.starts_programs.using(timeout=1, tries=1).dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        blocked.block(worker, how)
        gone(began, 1 + GRACE)
        blocked.proxy.mode = Mode.REFUSE  # what was open ends
        blocked.proxy.mode = Mode.PASS
        worker.send(signal.SIGCONT)
        wait_until(FailedJob.objects.exists, 15)
    failed = FailedJob.objects.get()
    assert failed.exception_class == "djqueue.errors.TimeoutExceeded"
    assert "was killed after 2." in failed.exception_message
    assert "in starts_programs" in failed.exception


@HOW
def test_the_end_of_the_grace(blocked, how):
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        blocked.block(worker, how)
        at = time.monotonic()
        worker.send(signal.SIGTERM)
        if how == "stopped":  # a process that is stopped hears nothing before it goes on
            worker.send(signal.SIGCONT)
        assert gone(began, GRACE) > GRACE - 0.1
        worker.wait(GRACE + 2 + SLOW - (time.monotonic() - at))
        if how == "stalled":
            assert "left" in worker.output or "take over when the lease ends" in worker.output


def test_a_second_signal(blocked):
    programs.starts_programs.dispatch()
    with start_worker("--grace", 30, overrides=blocked.overrides) as worker:
        began = blocked.begun()
        blocked.block(worker, "stalled")
        worker.send(signal.SIGTERM)
        time.sleep(0.3)
        assert all(map(_is_alive, began))
        worker.send(signal.SIGTERM)
        gone(began, 0)
        worker.wait(2 + SLOW)


def test_the_parent_is_killed(blocked):
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = [*blocked.begun(), worker.warden]
        worker.kill()
        gone(began, 0.3)


def test_the_parents_group_is_killed(blocked):
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = [*blocked.begun(), worker.warden]
        os.killpg(worker.pid, signal.SIGKILL)
        gone(began, 0.3)


def test_the_warden_is_killed(blocked):
    """Its children end with it; the job is interrupted, and a new warden's child runs it again."""
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        first = worker.warden
        os.kill(first, signal.SIGKILL)
        gone(began, 0.3)
        blocked.begun(2)
        assert worker.warden != first
        assert QueuedJob.objects.get().interruptions == 1
        again = worker.runners
        assert worker.stop() == 0
        gone(again, 0)
    assert [line.attempt for line in blocked.ledger.lines("begin")] == [1, 1]


def test_the_warden_is_killed_while_the_parent_waits(blocked):
    programs.starts_programs.dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        blocked.block(worker, "stalled")
        os.kill(worker.warden, signal.SIGKILL)
        gone(began[:1], 0.3)
        worker.kill_everything()


def test_a_child_is_killed_by_the_kernel(blocked):
    programs.starts_programs.using(backoff=60).dispatch()
    with blocked.start() as worker:
        began = blocked.begun()
        blocked.block(worker, "stopped")
        os.kill(began[0], signal.SIGKILL)
        gone(began, 0.3)
        worker.send(signal.SIGCONT)
        wait_until(lambda: "RELEASED" in worker.output)
        assert "signal 9" in worker.output


def test_a_soft_timeout(blocked):
    programs.starts_programs_and_times_out.using(tries=1).dispatch()
    with blocked.start():
        gone(blocked.begun(), 1)


def test_signals_to_all_processes_are_the_parents_to_decide(blocked):
    """As systemd sends them, and a terminal."""
    jobs.record.dispatch(1, 1.0)
    with blocked.start() as worker:
        wait_until(lambda: blocked.ledger.lines("begin"))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
            for pid in worker.children:
                os.kill(pid, number)
        worker.send(signal.SIGTERM)
        assert worker.wait(10) == 0
    assert blocked.ledger.details("end") == ["1"]
