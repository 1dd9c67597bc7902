"""The alarm behind soft timeouts, which stays set between jobs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from djqueue.errors import JobTimeout


def ring() -> None:
    os.kill(os.getpid(), signal.SIGALRM)
    time.sleep(0.01)


def test_it_rings_in_time(alarm):
    began = time.monotonic()
    alarm.start(0.05)
    with pytest.raises(JobTimeout):
        time.sleep(5)
    assert 0.04 < time.monotonic() - began < 2
    assert alarm.rang


def test_an_alarm_of_an_earlier_job_ends_no_later_one(alarm):
    alarm.start(60)
    ring()
    assert not alarm.rang


def test_an_alarm_between_jobs_is_the_last(alarm):
    alarm.start(60)
    alarm.stop()
    ring()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_job_without_a_timeout_has_no_alarm(alarm):
    alarm.start(60)
    alarm.stop()
    alarm.start(0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
