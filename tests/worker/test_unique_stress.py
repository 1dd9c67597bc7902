"""Many dispatches of few unique jobs, with rollbacks, deletes and kills: no key has two jobs."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter

import pytest
from django.db import connection, transaction

from djqueue import dispatch_many, queues
from djqueue.dispatch.unique.held import held
from djqueue.errors import QueueUnavailable
from djqueue.models import Key, QueuedJob
from djqueue.operations import pruning
from djqueue.payload.links import links_of
from tests.app.unique import once
from tests.support import wait_until
from tests.torture import kills
from tests.torture.sizes import KILLS, UNIQUE, size

pytestmark = [pytest.mark.scenario, pytest.mark.django_db(transaction=True)]

DISPATCHERS, TIMES = 4, size(UNIQUE, 60)
KEYS = 10 if TIMES == 60 else 50


class Dispatcher(threading.Thread):
    """Dispatches, rolls back and deletes, in an order that its number decides."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(number)
        self.error: BaseException | None = None
        self.dispatches = 0

    def run(self) -> None:
        try:
            for _ in range(TIMES):
                with contextlib.suppress(QueueUnavailable):  # SQLite may be locked for too long
                    self._dispatch()
        except BaseException as error:
            self.error = error
            raise
        finally:
            connection.close()

    def _dispatch(self) -> None:
        numbers = self._random.sample(range(KEYS), 3)
        self.dispatches += 1
        match self._random.randrange(4):
            case 0:
                with transaction.atomic():
                    once.dispatch(numbers[0])
                    transaction.set_rollback(True)
            case 1:
                dispatch_many(once.bind(number) for number in numbers)
                self.dispatches += 2
            case 2:
                queues[None].remove(None, [once.dispatch(numbers[0]).id])
            case _:
                once.dispatch(numbers[0])


def two_with_one_key() -> list[str]:
    """The keys that several jobs have, in one look at the table."""
    payloads = QueuedJob.objects.values_list("payload", flat=True)
    keys = Counter(links_of(text).unique for text in payloads)
    return [key for key, count in keys.items() if count > 1]


@pytest.fixture(autouse=True)
def short_lease(settings):
    database = {"DRIVER": "database", "RETRY_AFTER": kills.LEASE}
    settings.DJQUEUE = {"CONNECTIONS": {"database": database}}


def test_no_key_has_two_jobs_and_none_is_left(ledger, monkeypatch):
    dispatchers = [Dispatcher(number) for number in range(DISPATCHERS)]
    chance, count, looks = random.Random(1), kills.Count(1), 0
    with kills.workers("database") as made:
        for each in dispatchers:
            each.start()
        wait_until(lambda: len(ledger.lines("end")) > 5)
        while any(each.is_alive() for each in dispatchers) or count.killed < size(KILLS, 2):
            assert not two_with_one_key()
            looks += 1
            if count.killed < size(KILLS, 2):
                made.kill_next(chance, count)
                time.sleep(0.1)
        wait_until(lambda: not QueuedJob.objects.exists(), timeout=120)
        made.stop()
    assert [each.error for each in dispatchers] == [None] * DISPATCHERS
    count.jobs, count.runs = (
        sum(each.dispatches for each in dispatchers),
        len(ledger.lines("begin")),
    )
    print(f"{count}; {KEYS} keys, {looks} looks at the table")
    assert not list(held())
    monkeypatch.setattr(pruning, "KEY_AGE", -60.0)
    pruning.prune()
    assert not Key.objects.exists()
    assert dispatch_many(once.bind(number) for number in range(KEYS)) == KEYS
