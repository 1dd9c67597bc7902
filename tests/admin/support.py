"""Jobs in every state, operators with every permission, and the forms they send."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from djqueue.models import FailedJob, JobResult, QueuedJob, Worker
from djqueue.payload import payload

JOBS = "/admin/djqueue/queuedjob/"
FAILED = "/admin/djqueue/failedjob/"
WORKERS = "/admin/djqueue/worker/"
BATCHES = "/admin/djqueue/jobbatch/"
RESULTS = "/admin/djqueue/jobresult/"
PARKED = "/admin/djqueue/outbox/"
OVERVIEW = "/admin/djqueue/overview/"


def text_of(name: str, arguments: dict[str, Any], **options: Any) -> str:
    """A payload as a dispatch stores it."""
    head = payload.encode_head(name, payload.Limits(**options))
    return payload.encode(head, str(uuid.uuid4()), 1_790_000_000.0, arguments)


def waiting(
    name: str = "shop.SendReceipt",
    queue: str = "default",
    using: str = "default",
    arguments: dict[str, Any] | None = None,
    **columns: Any,
) -> QueuedJob:
    values: dict[str, Any] = {
        "queue": queue,
        "name": name,
        "payload": text_of(name, arguments or {}),
        "uuid": uuid.uuid4(),
        "line": 0,
        "available_at": Now(),
        "created_at": Now(),
    }
    row = QueuedJob.objects.using(using).create(**{**values, **columns})
    row.refresh_from_db()
    return row


def delayed(hours: float = 1, **columns: Any) -> QueuedJob:
    return waiting(**{"line": None, "available_at": Now() + timedelta(hours=hours), **columns})


def worker(name: str = "web-1:4211", lost: bool = False, using: str = "default") -> Worker:
    return Worker.objects.using(using).create(
        name=name,
        hostname="web-1",
        pid=4211,
        connection="database",
        queues="high,default",
        started_at=Now() - timedelta(hours=5),
        alive_until=Now() + (timedelta(hours=-3) if lost else timedelta(hours=1)),
    )


def reserve(row: QueuedJob, holder: Worker | None = None, seconds_ago: float = 2) -> QueuedJob:
    """As a worker does it."""
    holder = holder or worker(using=row._state.db or "default")
    QueuedJob.objects.using(row._state.db).filter(pk=row.pk).update(
        reserved_by=holder.pk,
        reserved_at=Now() - timedelta(seconds=seconds_ago),
        reserved_until=Now() + timedelta(seconds=90),
        reservation=F("reservation") + 1,
        attempts=F("attempts") + 1,
        line=None,
    )
    row.refresh_from_db()
    return row


def running(**columns: Any) -> QueuedJob:
    return reserve(waiting(**columns))


def stuck(**columns: Any) -> QueuedJob:
    using = columns.get("using", "default")
    lost = worker("gone-1:99", lost=True, using=using)
    return reserve(waiting(**columns), lost, seconds_ago=3 * 3600 + 60)


def failed(name: str = "shop.SendReceipt", **columns: Any) -> FailedJob:
    values: dict[str, Any] = {
        "uuid": uuid.uuid4(),
        "connection": "database",
        "queue": "default",
        "payload": text_of(name, {}),
        "exception": "Traceback (most recent call last):\nValueError: no such order\n",
        "failed_at": Now() - timedelta(minutes=3),
        "name": name,
        "attempts": 3,
        "exception_class": "shop.errors.OutOfStock",
        "exception_message": "no such order",
    }
    row = FailedJob.objects.create(**{**values, **columns})
    row.refresh_from_db()
    return row


def result(**fields: Any) -> JobResult:
    """A result of a job that is done."""
    now = timezone.now()
    usual = {"name": "shop.Import", "queue": "mail", "connection": "database", "status": "done"}
    moments = {"created_at": now, "finished_at": now, "keep_until": now}
    return JobResult.objects.create(**{"id": uuid.uuid4(), **usual, **moments, **fields})


def operator(*permissions: str, view: bool = True) -> User:
    """A member of staff who may see the screens, and do what `permissions` name."""
    user = User.objects.create_user(f"user{User.objects.count()}", password="x", is_staff=True)
    codes = [*permissions]
    if view:
        codes += ["view_queuedjob", "view_failedjob", "view_worker", "view_jobbatch"]
        codes += ["view_exception", "view_jobresult", "view_overview"]
    found = Permission.objects.filter(content_type__app_label="djqueue", codename__in=codes)
    assert found.count() == len(set(codes)), codes
    user.user_permissions.set(found)
    return user


@contextmanager
def unreadable(table):
    """No statement with that table is answered."""

    def away(execute, sql, params, many, context):
        if table in sql:
            raise OperationalError("no route to db://me:secret@host")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(away):
        yield


def client(*permissions: str, view: bool = True) -> Client:
    browser = Client()
    browser.force_login(operator(*permissions, view=view))
    return browser


def act(
    browser: Client,
    url: str,
    action: str,
    rows: Sequence[Any],
    *,
    seen: bool | str = True,
    answered: bool = True,
    **fields: Any,
) -> Any:
    """Send the list's form as the page in the operator's browser has it: with `rows` as seen, and
    a question `answered`.
    """
    tokens = [f"{row.pk}:{getattr(row, 'reservation', 0)}" for row in rows]
    data = {
        "action": action,
        "index": "0",
        "select_across": "0",
        "_selected_action": [str(row.pk) for row in rows],
        "seen": seen if isinstance(seen, str) else tokens if seen else [],
        **({"confirmed": "yes"} if answered else {}),
        **fields,
    }
    return browser.post(url, data)


def press(browser: Client, row: Any, verb: str, *, answered: bool = True, **fields: Any) -> Any:
    """Press a button of the row's page, and answer its question if `answered`."""
    url = reverse(f"admin:djqueue_{row._meta.model_name}_act", args=[row.pk, verb])
    answer = {"confirmed": "yes"} if answered else {}
    seen = f"{row.pk}:{getattr(row, 'reservation', 0)}"
    return browser.post(url, {"seen": seen, **answer, **fields})


def said(response: Any) -> list[str]:
    """The messages that the operator is shown, without their links."""
    told = map(str, get_messages(response.wsgi_request))
    return [re.sub(" <a .*?</a>", "", message) for message in told]


def exists(row: Any) -> bool:
    rows = type(row).objects.using(row._state.db)
    return bool(rows.filter(pk=row.pk).exists())


def logged() -> list[LogEntry]:
    return list(LogEntry.objects.order_by("pk"))
