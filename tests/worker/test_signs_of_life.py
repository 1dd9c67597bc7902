"""What a worker says to systemd, through a real socket, and to those who look at a file."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager

import pytest

from djqueue.worker.options import StopReason
from djqueue.worker.progress import Progress
from djqueue.worker.report import life
from djqueue.worker.report.life import SignsOfLife
from tests.support import start_worker, wait_until


@contextmanager
def systemd(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(20)
        yield listener


def said(listener):
    """Everything that has come."""
    listener.setblocking(False)
    found = []
    try:
        while True:
            found.append(listener.recv(1000).decode())
    except BlockingIOError:
        return found


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    moment = [1000.0]
    monkeypatch.setattr(life.clock, "now", lambda: moment[0])
    return moment


@pytest.mark.parametrize("kind", ["a file", "no file"])
def test_systemd_hears_the_beginning_the_end_and_that_it_goes_on(tmp_path, clock, kind):
    address = str(tmp_path / "notify") if kind == "a file" else f"@djqueue-{os.getpid()}"
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000", "LANG": "C"}
    with systemd(address) as listener:
        signs, progress = SignsOfLife("", environ), Progress(started=0.0)
        assert environ == {"LANG": "C"}  # children do not speak for the worker
        signs.waits()
        assert said(listener) == ["EXTEND_TIMEOUT_USEC=30000000"]
        for _ in range(100):
            signs.show(progress)
        assert said(listener) == ["READY=1\nWATCHDOG=1"]
        for _ in range(60):
            clock[0] += 0.1  # 6 s in all: not more than one in half of the time
            signs.show(progress)
        assert said(listener) == ["WATCHDOG=1"] * 3
        progress.reason = StopReason.SIGNAL
        signs.show(progress)
        signs.show(progress)
        assert said(listener) == ["STOPPING=1"]


def test_the_watchdog_of_another_process_is_not_ours(tmp_path):
    address = str(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    with systemd(address) as listener:
        SignsOfLife("", environ).show(Progress(started=0.0))
        assert said(listener) == ["READY=1"]


@pytest.mark.parametrize("address", ["", "gone", "vsock:2:1", "/nowhere/notify", "@gone"])
def test_it_harms_nothing_where_nobody_listens(address):
    signs = SignsOfLife("", {"NOTIFY_SOCKET": address})
    signs.waits()
    signs.show(Progress(started=0.0))


def test_the_file_is_touched_every_five_seconds(tmp_path, clock):
    path = tmp_path / "heartbeat"
    signs, progress = SignsOfLife(str(path), {}), Progress(started=0.0)
    signs.show(progress)
    os.utime(path, (0, 0))
    clock[0] += life.TOUCH_EVERY - 0.1
    signs.show(progress)
    assert path.stat().st_mtime == 0
    clock[0] += 0.2
    signs.show(progress)
    assert path.stat().st_mtime > time.time() - 60


def test_a_file_that_cannot_be_touched_is_mentioned_once(tmp_path, clock, caplog):
    signs, progress = SignsOfLife(str(tmp_path / "gone" / "heartbeat"), {}), Progress(started=0.0)
    for _ in range(3):
        clock[0] += 60
        signs.show(progress)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.anywhere
@pytest.mark.django_db(transaction=True)
def test_a_worker_says_it_all(tmp_path):
    address, heartbeat = str(tmp_path / "notify"), tmp_path / "heartbeat"
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    with (
        systemd(address) as listener,
        start_worker("--heartbeat", heartbeat, **given) as worker,
    ):
        assert "READY=1" in listener.recv(1000).decode()
        assert listener.recv(1000) == b"WATCHDOG=1"
        wait_until(heartbeat.exists)
        worker.send(signal.SIGTERM)
        wait_until(lambda: listener.recv(1000) == b"STOPPING=1")
        assert worker.wait() == 0
