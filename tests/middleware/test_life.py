"""For how long a run may hold something: until its process is killed for certain."""

from __future__ import annotations

from djqueue.runner.current import DAY, KILLED_BY, CurrentJob
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from djqueue.runner.timer import Timer


class KilledInTime(Timer):
    """As in a child of a worker."""

    owns_process = True


def life(timer):
    runner = Runner("database", Rules(), timer=timer)
    return CurrentJob("1", "shop.Pack", "default", "database", 1, runner._watch).life


def test_what_is_left_of_the_timeout_and_the_time_to_kill_it():
    timer = KilledInTime()
    timer.start(60)
    assert 59 + KILLED_BY < life(timer) <= 60 + KILLED_BY
    timer.start(0)
    assert life(timer) == DAY


def test_a_day_where_nothing_kills_it():
    timer = Timer()
    timer.start(60)
    assert life(timer) == DAY
