"""The middleware that djqueue has, each alone."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from djqueue import Job, current_job
from djqueue.errors import ConfigurationError, LimitReached, UnknownLimit
from djqueue.limits import define, funnel
from djqueue.limits.definitions import _limits
from djqueue.middleware import (
    FailOnException,
    RateLimited,
    Release,
    Skip,
    SkipIfBatchCancelled,
    ThrottlesExceptions,
    WithoutOverlapping,
)
from djqueue.testing import run_middleware


class Pack(Job, name="tests.middleware_pack"):
    order: int = 1

    def handle(self) -> str:
        return f"packed {self.order}"


class Break(Job, name="tests.middleware_break"):
    kind: str = "os"

    async def handle(self) -> None:
        raise {"os": OSError, "value": ValueError, "limit": LimitReached("Later.", 5)}[self.kind]


@pytest.fixture(autouse=True)
def own_limits(monkeypatch):
    monkeypatch.setattr("djqueue.limits.definitions._limits", dict(_limits))


# -- Skip and Release --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "middleware",
    [Skip.when(True), Skip.unless(False), Skip.when(lambda job: job.instance.order == 1)],
)
def test_skip(middleware):
    run = run_middleware(middleware, Pack(1))
    assert (run.ran, run.skipped, run.value) == (False, True, None)


@pytest.mark.parametrize("middleware", [Skip.when(False), Skip.unless(lambda job: job.attempt)])
def test_no_skip(middleware):
    run = run_middleware(middleware, Pack(2))
    assert (run.ran, run.skipped, run.value) == (True, False, "packed 2")


def test_release():
    run = run_middleware(Release.when(lambda job: True, delay=timedelta(minutes=1)), Pack())
    assert (run.ran, run.skipped, run.released) == (False, False, 60)
    assert run_middleware(Release.unless(False, delay=5), Pack()).released == 5
    assert run_middleware(Release.when(False, delay=5), Pack()).value == "packed 1"


@pytest.mark.parametrize(("batch", "ran"), [(None, True), (False, True), (True, False)])
def test_members_of_a_cancelled_batch(batch, ran):
    def in_batch(job, next):
        found = None if batch is None else SimpleNamespace(cancelled=batch)
        job.set_batch("", lambda: found)
        return SkipIfBatchCancelled()(job, next)

    assert run_middleware(in_batch, Pack()).ran is ran


# -- exceptions --------------------------------------------------------------------------------


def test_fail_on_exception():
    assert isinstance(run_middleware(FailOnException(OSError), Break()).failed, OSError)
    with pytest.raises(ValueError):  # noqa: PT011 - it has no words
        run_middleware(FailOnException(OSError), Break("value"))
    with pytest.raises(OSError):  # noqa: PT011
        run_middleware(FailOnException(OSError, when=lambda error: error.errno), Break())
    assert run_middleware(FailOnException(), Break("value")).failed
    assert run_middleware(FailOnException(), Break("limit")).released == 5


def test_throttles_exceptions(limits):
    fuse = ThrottlesExceptions(2, 60)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            run_middleware(fuse, Break())
    held = run_middleware(fuse, Break())
    assert not held.ran
    assert 50 < held.released <= 60
    assert run_middleware(fuse, Pack()).ran  # jobs of another name have a fuse of their own


def test_a_success_forgets_the_exceptions_before_it(limits):
    fuse = ThrottlesExceptions(2, 60, by="carrier")
    for _ in range(3):
        with pytest.raises(OSError):  # noqa: PT011
            run_middleware(fuse, Break())
        assert run_middleware(fuse, Pack()).ran


def test_only_some_exceptions_count(limits):
    fuse = ThrottlesExceptions(1, 60, only=(OSError,))
    with pytest.raises(ValueError):  # noqa: PT011
        run_middleware(fuse, Break("value"))
    assert run_middleware(fuse, Break("limit")).released == 5
    with pytest.raises(OSError):  # noqa: PT011
        run_middleware(fuse, Break())
    assert not run_middleware(fuse, Break()).ran


# -- limits ------------------------------------------------------------------------------------


def test_rate_limited(limits):
    define("packing", allow=2, every=60)
    runs = [run_middleware(RateLimited("packing"), Pack()) for _ in range(3)]
    assert [run.ran for run in runs] == [True, True, False]
    assert 50 < runs[2].released < 60.01  # by the clock of the database
    assert run_middleware(RateLimited("packing", skip=True), Pack()).skipped


def test_each_value_of_by_has_a_limit_of_its_own(limits):
    def by(job):
        assert job is current_job()
        return None if job.instance.order == 3 else job.instance.order

    define("packing", allow=1, every=timedelta(minutes=1), by=by)
    ran = [run_middleware(RateLimited("packing"), Pack(order)).ran for order in (1, 2, 1, 3, 3)]
    assert ran == [True, True, False, True, True]


def test_an_unknown_limit_is_named_with_the_nearest():
    define("packing", allow=1, every=60)
    with pytest.raises(UnknownLimit, match=r"Did you mean .packing"):
        run_middleware(RateLimited("pakking"), Pack())


def test_a_limit_is_defined_once():
    define("packing", allow=1, every=60)
    define("packing", allow=1, every=60)
    with pytest.raises(ConfigurationError, match="defined twice: 1 every 60 s, and 2 every 60 s"):
        define("packing", allow=2, every=60)


def test_without_overlapping(limits):
    inside = []

    def meanwhile(job, next):
        inside.append(run_middleware(WithoutOverlapping("a"), Pack()))
        inside.append(run_middleware(WithoutOverlapping("a", skip=True), Pack()))
        inside.append(run_middleware(WithoutOverlapping("b"), Pack()))
        inside.append(run_middleware(WithoutOverlapping("a"), Break("limit")))
        return next(job)

    def both(job, next):
        return WithoutOverlapping(lambda job: "a")(job, lambda job: meanwhile(job, next))

    assert run_middleware(both, Pack()).ran
    assert [run.ran for run in inside] == [False, False, True, True]
    assert inside[0].released > 0
    assert inside[1].skipped
    assert run_middleware(WithoutOverlapping("a"), Pack()).ran


def test_a_shared_key_is_one_for_all_names(limits):
    with funnel("overlap:carrier", 1):
        assert run_middleware(WithoutOverlapping("carrier"), Pack()).ran
        assert not run_middleware(WithoutOverlapping("carrier", shared=True), Pack()).ran
