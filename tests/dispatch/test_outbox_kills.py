"""The dispatching process dies between its commit and the push: the outbox loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid

import pytest

from djqueue import queues
from djqueue.dispatch.outbox.outbox import HOLD
from djqueue.models import Outbox
from tests.app.models import Note
from tests.databases import vendor
from tests.ledger import Ledger, kept
from tests.support import ROOT, environment, start_worker, wait_until
from tests.torture.sizes import KILLS, size

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.redis,
    pytest.mark.database,  # whose rows have to outlive the kills
    pytest.mark.django_db(transaction=True),
]

KILLED = size(KILLS, 4)
DISPATCHER = """
import sys
import django
from django.db import transaction
django.setup()
from tests.app import jobs
from tests.app.models import Note
first = number = int(sys.argv[1])
while True:
    with transaction.atomic():
        Note.objects.create(text=str(number))
        jobs.record.dispatch(number)
    if number == first:
        print("ready", flush=True)
    number += 1
"""


def dispatch_until_killed(first: int, seconds: float) -> None:
    """Commit a note and a job at a time, from the number `first` on."""
    line = [sys.executable, "-c", DISPATCHER, str(first)]
    env = {**os.environ, **environment()}
    with subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


@pytest.mark.skipif(size(KILLS, 0) == 0 and vendor() == "mariadb", reason="twice is enough")
def test_nothing_is_lost_when_dispatchers_are_killed(settings, redis_aof_server):
    connection = {
        "DRIVER": "redis",
        "URL": redis_aof_server.url,
        "PREFIX": f"test-{uuid.uuid4().hex}",
        "OUTBOX": True,
    }
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": connection}}
    chance = random.Random(8)
    with kept() as ledger:
        left = 0
        for kill in range(KILLED):
            before = Outbox.objects.count()
            dispatch_until_killed(kill * 1_000_000, chance.uniform(0.1, 0.4))
            left += Outbox.objects.count() - before
        with start_worker("--workers", 2, "--sleep", 0.2):
            wait_until(lambda: not Outbox.objects.exists(), timeout=HOLD + 20)
            wait_until(lambda: queues["store"].is_empty(), timeout=30)
        accounted_for(ledger)
    print(f"{Note.objects.count()} commits, {KILLED} kills, {left} jobs left in the outbox")
    queues.close_all()


def accounted_for(ledger: Ledger) -> None:
    """There is a run for each note, and a note for each run. A job that was pushed and still in
    the outbox is pushed again, under its own id, and so may run twice where it had ended already.
    """
    committed = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert len(committed) >= KILLED
    assert sorted({int(number) for number in ledger.details("end")}) == committed
