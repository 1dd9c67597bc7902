"""Running commands in this process, as a shell would see them."""

from __future__ import annotations

import io
import json
import sys
import uuid
from datetime import timedelta
from typing import NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from djqueue import queues
from djqueue.drivers.base import Reservation
from djqueue.finish import failed
from djqueue.models import QueuedJob
from djqueue.payload import payload
from djqueue.runner.outcome import report
from tests.dispatch.memory import MemoryDriver

DJQUEUE = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database", "DATABASE": "default"},
        "memory": {"DRIVER": "tests.dispatch.memory.MemoryDriver"},
        "sync": {"DRIVER": "sync"},
        "null": {"DRIVER": "null"},
    },
}


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


class Ended(NamedTuple):
    """A command that ran."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def objects(self):
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def _settings():
    MemoryDriver.stores.clear()
    with override_settings(DJQUEUE=DJQUEUE):
        yield


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a command: its exit code, stdout and stderr."""

    def run(name, *arguments, answer=None, terminal=False):
        stdin = io.StringIO() if answer is None else Terminal(answer)
        monkeypatch.setattr(sys, "stdin", stdin)
        out, err = (Terminal() if terminal else io.StringIO()), io.StringIO()
        code = 0
        try:
            call_command(name, *map(str, arguments), stdout=out, stderr=err, no_color=True)
        except CommandError as error:
            code = error.returncode
            err.write(f"{error}\n")
        except SystemExit as ended:
            code = ended.code
        return Ended(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def fail():
    """Return a function that records a failed job; its id."""

    def fail(
        id=None, *, connection="database", queue="default", name="test.commands.Send", **given
    ):
        id = id or str(uuid.uuid4())
        head = payload.encode_head(name, payload.Limits())
        text = payload.encode(head, id, 1790000000.5, given)
        try:
            raise ValueError("it failed\nbadly")
        except ValueError as error:
            held = Reservation(id, queue, name, text, 2, 0, "", None)
            failed.record(connection, [failed.GivenUp(held, report(error), "")])
        return id

    return fail


@pytest.fixture
def reserve():
    """Return a function that reserves waiting jobs of a queue as a worker would; their ids."""

    def reserve(queue="default", limit=1, *, stuck=False):
        taken = queues["database"].driver.session().exchange([], [queue], limit).reservations
        ids = [reservation.id for reservation in taken]
        if stuck:
            over = timezone.now() - timedelta(hours=1)
            QueuedJob.objects.filter(uuid__in=ids).update(reserved_until=over)
        return ids

    return reserve
