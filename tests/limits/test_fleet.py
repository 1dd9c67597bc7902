"""Limits under two workers of four children each: exact, and used.

`DJQUEUE_LIMIT_SECONDS` makes the runs long.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from djqueue import dispatch_many
from tests import ledger as ledgers
from tests.app import jobs
from tests.limits.grants import Recorded, most_in_any
from tests.support import start_worker
from tests.torture import kills
from tests.torture.sizes import size

SECONDS = size("DJQUEUE_LIMIT_SECONDS", 4)
ALLOW, EVERY = 10, 1.0
LINE = ("--workers", 4, "--sleep", 0.1)

pytestmark = [pytest.mark.scenario, pytest.mark.wallclock]


@pytest.fixture
def ledger(limits):
    with ledgers.kept() as ledger:
        yield ledger


@pytest.fixture
def grants(limits):
    """The times of all uses by the store's own clock, in seconds."""
    if type(limits).__name__ == "DatabaseStore":
        with Recorded() as times:
            yield times
        return
    seen = {}

    def times():
        from django_redis import get_redis_connection

        key = limits._key("throttle:tests.ten", "uses")
        seen.update(get_redis_connection("limits").zrange(key, 0, -1, withscores=True))
        return sorted(score / 1e6 for score in seen.values())

    yield times


def test_never_more_than_allowed_in_any_period_and_nearly_all_of_it(ledger, grants):
    dispatch_many(jobs.limited.bind() for _ in range(int(ALLOW * (SECONDS + 3))))
    with start_worker(*LINE) as one, start_worker(*LINE) as two:
        end = time.monotonic() + 60
        while not (times := grants()) and time.monotonic() < end:
            time.sleep(0.05)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.2)
            times = grants()
        one.stop()
        two.stop()
    times = grants()
    lasted = times[-1] - times[0]
    allowed = ALLOW * (int(lasted / EVERY) + 1)
    share = len(times) / allowed
    comes = ledger.count("comes")
    held = [count for count in comes.values() if count > 1]
    most = most_in_any(times, EVERY)
    print(
        f"{len(times)} uses in {lasted:.2f} s, {share:.1%} of {allowed:.0f}; most in any"
        f" {EVERY:g} s: {most}; reserves of a job that was held back:"
        f" {sum(held) / max(len(held), 1):.2f}, at most {max(held, default=0)}"
    )
    assert most <= ALLOW
    assert len(ledger.lines("passes")) >= len(times) - 8
    assert share > 0.6  # however busy this machine is
    assert sum(held) <= 3 * len(held)


@pytest.fixture
def short_lease(limits, settings):
    """Whoever dies is missed soon."""
    database = {"DRIVER": "database", "RETRY_AFTER": kills.LEASE}
    settings.DJQUEUE = {**getattr(settings, "DJQUEUE", {}), "CONNECTIONS": {"database": database}}


def test_never_more_inside_than_allowed_also_when_holders_are_killed(ledger, short_lease):
    count = 10 * SECONDS
    dispatch_many(jobs.narrow.bind(0.15) for _ in range(count))
    killed = {}
    with start_worker(*LINE) as one, start_worker(*LINE) as two:
        end = time.monotonic() + 120
        while time.monotonic() < end and len(set(ledger.count("leaves"))) < count:
            time.sleep(0.3)
            lines = ledger.lines()
            over = {(line.id, line.pid) for line in lines if line.what == "leaves"} | set(killed)
            inside = {(line.id, line.pid) for line in lines if line.what == "enters"} - over
            if inside and len(killed) < SECONDS:
                victim = inside.pop()
                killed[victim] = time.monotonic()
                os.kill(victim[1], signal.SIGKILL)
            if len(killed) == SECONDS and two.is_running:
                at = time.monotonic()
                killed |= {one: at for one in inside if one[1] in two.children}
                two.kill_everything()
        one.stop()
    most, reserves = most_inside(ledger, killed), ledger.count("comes")
    print(
        f"{count} jobs, {len(killed)} holders killed; most at once: {most}; reserves of a job:"
        f" {sum(reserves.values()) / count:.2f}, at most {max(reserves.values())}"
    )
    assert len(set(ledger.count("leaves"))) == count
    assert most == 3


def most_inside(ledger, killed):
    """How many were inside at once. One that was killed is, until it was killed."""
    steps = []
    left = {(line.id, line.pid): line.at for line in ledger.lines("leaves")}
    for line in ledger.lines("enters"):
        one = (line.id, line.pid)
        end = left.get(one, killed.get(one))
        if end is not None:
            steps += [(line.at, 1), (end, -1)]
    inside = most = 0
    for _, change in sorted(steps):
        inside += change
        most = max(most, inside)
    return most
