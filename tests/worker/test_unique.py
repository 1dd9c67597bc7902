"""Unique jobs on workers, beside transactions of dispatchers that are held open."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from djqueue import dispatch_many
from djqueue.databases.now import UtcNow
from djqueue.models import Key, QueuedJob
from tests import databases
from tests.app import jobs
from tests.app.unique import once
from tests.ledger import Ledger
from tests.support import start_worker, wait_until
from tests.torture.sizes import HELD, size

pytestmark = pytest.mark.django_db(transaction=True)
HELD_FOR = size(HELD, 1)
"""Seconds for which a transaction is held open."""
locks_rows = pytest.mark.skipif(databases.vendor() == "sqlite", reason="it has no locks of rows")


class Held:
    """A transaction of another thread, in which a dispatch was made."""

    def __init__(self, dispatch: Callable[[], Any]) -> None:
        self._dispatch = dispatch
        self._over = threading.Event()
        self._done = threading.Event()
        self.dispatched: Any = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with transaction.atomic():
                self.dispatched = self._dispatch()
                self._done.set()
                self._over.wait(120)
        finally:
            connection.close()

    def wait(self) -> None:
        """Until the dispatch has returned."""
        assert self._done.wait(20)

    def end(self) -> None:
        """Commit."""
        self._over.set()
        self.thread.join(20)


@contextlib.contextmanager
def held(dispatch: Callable[[], Any]) -> Iterator[Held]:
    """Dispatch in a transaction that stays open in this block."""
    one = Held(dispatch)
    try:
        one.wait()
        yield one
    finally:
        one.end()


def left() -> list[str]:
    """The names of the jobs whose ends are not stored."""
    return list(QueuedJob.objects.values_list("name", flat=True))


def test_a_duplicate_holds_up_nothing(ledger):
    with start_worker("--sleep", 0.1) as worker:
        once.dispatch(0)
        wait_until(lambda: not left())  # on SQLite the worker has switched WAL on by now
        first = once.dispatch(1, seconds=1)
        with held(lambda: once.dispatch(1, seconds=1)) as other:
            assert other.dispatched.existing == first.id
            dispatch_many(jobs.record.bind(number) for number in range(20))
            wait_until(lambda: not left(), what="the holder and the others end")
            waits = [seconds_to_settle(ledger, number) for number in range(20, 20 + HELD_FOR * 10)]
            print(f"{databases.vendor()}: {len(waits)} jobs were settled within {max(waits):.3f} s")
            assert "unavailable" not in worker.output
    assert HELD_FOR == 1 or max(waits) < 0.1


def seconds_to_settle(ledger: Ledger, number: int) -> float:
    """Dispatch a job. Return the seconds from its end until that is stored."""
    id = jobs.record.dispatch(number).id
    wait_until(lambda: not QueuedJob.objects.filter(uuid=id).exists(), every=0.002)
    stored = time.monotonic()
    (end,) = (line.at for line in ledger.lines("end") if line.id == id)
    time.sleep(max(0.0, 0.1 - (stored - end)))
    return stored - end


@pytest.mark.postgresql  # the row that it inserts would hold up others on MariaDB and SQLite
def test_a_key_that_is_taken_over_holds_up_nothing(ledger):
    once.dispatch(1)
    with start_worker() as worker:
        wait_until(lambda: not left())
        once.dispatch(1)
        Key.objects.update(until=UtcNow() - timedelta(seconds=1))
        with held(lambda: once.dispatch(1)) as other:
            assert other.dispatched.created
            dispatch_many(jobs.record.bind(number) for number in range(2, 22))
            wait_until(lambda: not left())
        wait_until(lambda: not left())
        assert "unavailable" not in worker.output
    assert len(ledger.details("end")) == 23


@locks_rows
def test_a_duplicate_that_had_to_wait_holds_up_nothing(ledger):
    """It has found the key by inserting, which locks the row on MySQL and MariaDB."""
    with transaction.atomic():
        first = once.dispatch(1)
        other = Held(lambda: once.dispatch(1))
        other.thread.join(0.5)  # it waits for this transaction
        assert other.dispatched is None
    other.wait()
    try:
        assert other.dispatched.existing == first.id
        dispatch_many(jobs.record.bind(number) for number in range(2, 22))
        with start_worker() as worker:
            wait_until(lambda: not left())
            assert "unavailable" not in worker.output
    finally:
        other.end()
