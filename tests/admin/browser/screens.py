"""Every screen of the admin, with rows of every kind on them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from djqueue import batch
from djqueue.dispatch import controls
from djqueue.models import FinishedJob, Outbox, QueuedJob, Worker
from djqueue.payload import history
from djqueue.statistics.histogram import COUNTS
from djqueue.statistics.tally import Counts
from djqueue.statistics.writing import write
from tests.admin.support import (
    BATCHES,
    FAILED,
    JOBS,
    OVERVIEW,
    PARKED,
    RESULTS,
    WORKERS,
    delayed,
    failed,
    result,
    running,
    stuck,
    text_of,
    waiting,
)
from tests.composition import jobs as composed

FINISHED = "/admin/djqueue/finishedjob/"
SETTINGS = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "cache-queue": {"DRIVER": "redis", "URL": "redis://localhost:1/0"},
    },
    "KEEP_DONE": 3600,
}
"""One store answers, one does not."""
_LONG = "shop.billing.GenerateInvoicePdfForCustomer"
_FRAME = '  File "/srv/shop/{}.py", line 42, in collect_every_line_of_the_invoice\n    call()\n'


class Page(NamedTuple):
    """A screen: an address, and what is pressed there to get to the screen."""

    url: str
    press: str = ""


def fill(user: Any) -> dict[str, Any]:
    """Make rows of every kind, with long names and texts among them; `user` has acted on one."""
    arguments = {
        "order": {"$": "model", "m": "auth.User", "k": 1, "db": "default"},
        "lines": [{"sku": "A-1", "count": 3}],
        "api_token": "x",
        "note": "A long note that wraps, " * 8,
    }
    attempts = history.add(
        history.read(""), history.Entry(1, "raised", "shop.errors.OutOfStock", "none left")
    )
    trace = "Traceback (most recent call last):\n"
    trace += "".join(map(_FRAME.format, range(6))) + "shop.errors.OutOfStock: none left\n"
    text = text_of(_LONG, arguments, tries=3, timeout=120)
    rows: dict[str, Any] = {
        "waiting": waiting("app.record", queue="mail", arguments={"number": 7}),
        "delayed": delayed(queue="reports", hours=4),
        "running": running(),
        "stuck": stuck(
            name=_LONG,
            queue="a-rather-long-queue-name.for-reports",
            payload=text,
            history=attempts,
        ),
        "failed": failed(payload=text, exception=trace, history=attempts, fingerprint="f" * 32),
        "result": result(value='{"rows": 3}', done=1, total=3, message="A long message. " * 9),
        "batch": batch([composed.number.bind(1), composed.number.bind(2)], name="Im").dispatch(),
    }
    known = text_of("app.label", {"order_id": 42, "urgent": True})
    rows["known"] = failed("app.label", payload=known)
    for _ in range(2):
        failed(
            _LONG,
            exception_class="requests.exceptions.ConnectionError",
            exception_message="HTTPSConnectionPool(host='example.com', port=443): Max " * 3,
            connection="redis",
            fingerprint="f" * 32,
        )
    moment = {"created_at": timezone.now(), "due_at": timezone.now() + timedelta(days=2)}
    rows["parked"] = Outbox.objects.create(
        connection="cache-queue", queue="mail", uuid=uuid.uuid4(), name=_LONG, payload=text,
        parked=True, **moment,
    )  # fmt: skip
    rows["finished"] = FinishedJob.objects.create(
        uuid=uuid.uuid4(), name=_LONG, queue="mail", connection="database", attempts=1,
        duration=1.25, finished_at=timezone.now(),
    )  # fmt: skip
    rows["alive"] = Worker.objects.get(name="web-1:4211")
    rows["lost"] = Worker.objects.get(name="gone-1:99")
    count = {"done": 40, "failed": 3, "runtime_6": 40, "wait_4": 40}
    numbers = [count.get(each, 0) for each in COUNTS]
    for minutes in (9, 3, 2):
        write("default", "database", [Counts("mail", _LONG, numbers)], time.time() - minutes * 60)
    controls.pause("database", "mail", reason="The mail server is full", by="anna")
    _acted(user, rows["stuck"])
    return rows


def _acted(user: Any, row: QueuedJob) -> None:
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(row),
        object_id=row.uuid,
        object_repr=str(row),
        action_flag=CHANGE,
        change_message='{"verb": "release"}',
    )


def pages(rows: dict[str, Any]) -> Iterator[tuple[str, Page]]:
    """Give the name of each screen, and how to get there."""
    yield "overview", Page(OVERVIEW)
    yield "statistics", Page(f"{OVERVIEW}statistics/")
    yield "pause", Page(f"{OVERVIEW}pause/?connection=database&queue=default")
    yield "find", Page(f"{OVERVIEW}find/?q={rows['stuck'].uuid}")
    yield "statistics", Page(f"{OVERVIEW}statistics/")
    yield "jobs", Page(JOBS)
    yield "jobs-none", Page(f"{JOBS}?queue=nothing")
    yield "jobs-away", Page(f"{JOBS}?connection=cache-queue")
    yield "jobs-all", Page(JOBS, "all/delete")
    for state in ("waiting", "delayed", "running", "stuck"):
        yield f"job-{state}", Page(f"{JOBS}{rows[state].pk}/change/")
    yield "job-delete", Page(f"{JOBS}{rows['waiting'].pk}/change/", "act/delete")
    yield "job-move", Page(f"{JOBS}{rows['waiting'].pk}/change/", "act/move")
    yield "job-history", Page(f"{JOBS}{rows['stuck'].pk}/history/")
    yield "parked", Page(PARKED)
    yield "parked-job", Page(f"{PARKED}{rows['parked'].pk}/change/")
    yield "failed", Page(FAILED)
    yield "failed-group", Page(f"{FAILED}?group={'f' * 32}")
    yield "failed-search", Page(f"{FAILED}?q=exc:ConnectionError")
    yield "failed-job", Page(f"{FAILED}{rows['failed'].pk}/change/")
    yield "failed-edit", Page(f"{FAILED}{rows['known'].pk}/edit-and-retry/")
    yield "finished", Page(FINISHED)
    yield "finished-job", Page(f"{FINISHED}{rows['finished'].pk}/change/")
    yield "batches", Page(BATCHES)
    yield "batch", Page(f"{BATCHES}{rows['batch'].pk}/change/")
    yield "results", Page(RESULTS)
    yield "result", Page(f"{RESULTS}{rows['result'].pk}/change/")
    yield "workers", Page(WORKERS)
    yield "worker", Page(f"{WORKERS}{rows['alive'].pk}/change/")
    yield "worker-lost", Page(f"{WORKERS}{rows['lost'].pk}/change/")
