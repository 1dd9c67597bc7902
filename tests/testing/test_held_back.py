"""`work()` and jobs that a limit or a middleware holds back."""

from __future__ import annotations

import pytest

from djqueue import job
from djqueue.limits import throttle
from djqueue.middleware import Release
from djqueue.testing import work

ran = []


@job(name="tests.held_by_limit")
def limited(number: int) -> None:
    with throttle("tests.work", 2, 60):
        ran.append(number)


@job(name="tests.held_by_middleware", middleware=[Release.when(True, delay=5)])
def never() -> None:
    ran.append("never")


@job(name="tests.not_held")
def free() -> None:
    ran.append("free")


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@pytest.mark.django_db
def test_it_ends_when_only_such_jobs_are_left():
    for number in range(5):
        limited.dispatch(number)
    never.dispatch()
    free.dispatch()
    work(delayed=True, raise_errors=True)
    assert sorted(map(str, ran)) == ["0", "1", "free"]
