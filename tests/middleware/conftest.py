from __future__ import annotations

import pytest

from djqueue.dispatch.dispatch import prepare
from djqueue.drivers.base import Reservation
from djqueue.finish.announce import announce
from djqueue.finish.notices import FreeSlots, RemovePayloads, notices_of
from djqueue.middleware.pipeline import loaded
from djqueue.runner.outcome import End
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from tests.limits.conftest import limits

__all__ = ["limits"]


@pytest.fixture
def trail(monkeypatch):
    """What the jobs and the middleware of these tests did, in order."""
    from tests.middleware import jobs

    jobs.trail.clear()
    return jobs.trail


@pytest.fixture
def attempt():
    """Run one attempt of a job, as a worker would; the attempt, with its outcome."""

    def run(job, history="", timer=None):
        outgoing = prepare(job, job._spec).outgoing
        reservation = Reservation(
            outgoing.id, "default", outgoing.name, outgoing.payload, 1, 0, history, None
        )
        runner = Runner("database", Rules(tries=3), timer=timer)
        attempt = runner.attempt(reservation)
        attempt.outcome = runner.run(attempt)
        for notice in notices_of([End(reservation, attempt.outcome)]):
            if not isinstance(notice, RemovePayloads | FreeSlots):
                announce(notice, runner.teller, "database")
        return attempt

    return run


@pytest.fixture
def around(settings):
    """Set ``MIDDLEWARE``."""

    def change(*paths):
        settings.DJQUEUE = {"MIDDLEWARE": list(paths)}

    yield change
    loaded.cache_clear()
