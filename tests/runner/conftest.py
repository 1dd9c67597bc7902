from __future__ import annotations

import signal

import pytest

from djqueue.runner.timer import AlarmTimer


@pytest.fixture
def alarm():
    """The timer of a process that is the jobs' own."""
    before = signal.getsignal(signal.SIGALRM)
    timer = AlarmTimer()
    yield timer
    timer.close()
    signal.signal(signal.SIGALRM, before)
