"""The rows of results. Each is written in the transaction that queues its job, and gets its end in
the transaction that stores the end of the job.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.models import Case, Value, When
from django.utils import timezone

from djqueue import context
from djqueue.conf import settings
from djqueue.databases.errors import is_locked
from djqueue.databases.now import UtcNow
from djqueue.drivers.slices import slices
from djqueue.finish.failed_rows import storable
from djqueue.payload.links import links_of, may_be_linked
from djqueue.payload.parts import context_text, id_in
from djqueue.runner.current import Reported

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.base import OutgoingJob
    from djqueue.models import JobResult

__all__ = ["are_waiting", "cancelled", "end", "existing", "kept_among", "owner", "report_now"]
__all__ += ["reported", "reported_unless_locked", "restore", "store", "table"]
__all__ += ["write", "write_kept"]

WAITING, DONE, FAILED, CANCELLED = "waiting", "done", "failed", "cancelled"
LOST_AFTER = timedelta(days=15)
"""Time after a job was due after which a row without an end may be pruned."""
BRIEFLY = 50
"""Milliseconds that storing a progress may wait for SQLite's lock."""
_ROWS = 90, 1_000
"""Rows in an INSERT: SQLite may take 999 parameters; PostgreSQL is given an array."""
_IDS = 500


def store() -> str | None:
    """Return the alias of the database with the results; None where none are kept."""
    known = settings().results
    return None if known is None else known.database


def table(alias: str) -> QuerySet[JobResult]:
    """Return all results, for the ORM."""
    from djqueue.models import JobResult

    return JobResult.objects.using(alias)


# -- at the dispatch -------------------------------------------------------------------------------


def owner() -> str:
    """Return the user in the context; an empty text without one."""
    user = context.get("user_id")
    return "" if user is None else storable(str(user))[:255]


def write(alias: str, connection: str, jobs: Iterable[OutgoingJob], owner: str) -> None:
    """Write the rows of jobs of `connection` that are about to be queued, as a part of the open
    transaction of `alias`.
    """
    alike: dict[tuple[str, str], list[OutgoingJob]] = {}
    for job in jobs:
        alike.setdefault((job.name, job.queue), []).append(job)
    database, now = connections[alias], timezone.now()
    adapted = database.ops.adapt_datetimefield_value
    with database.cursor() as cursor:
        for (name, queue), some in alike.items():
            until = _later(now, LOST_AFTER, max(job.delay for job in some))
            same = (name, queue, connection, owner, adapted(now), adapted(until))
            for ids in slices([job.id for job in some], _ROWS[database.vendor == "postgresql"]):
                cursor.execute(*_insert(database, ids, same))


def _insert(database: Any, ids: Sequence[str], same: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Return a statement, with its values, that writes rows with those ids and the `same` rest."""
    from djqueue.models import JobResult

    quote, rest = database.ops.quote_name, ", ".join(["%s"] * len(same))
    columns, into = ", ".join(map(quote, _WRITTEN)), quote(JobResult._meta.db_table)
    insert = f"INSERT INTO {into} ({columns})"
    if database.vendor == "postgresql":  # one array is read a multiple faster than many values
        return f"{insert} SELECT unnest(%s::uuid[]), {rest}", [list(ids), *same]
    to_key = JobResult._meta.pk.get_db_prep_value
    rows = ", ".join([f"(%s, {rest})"] * len(ids))
    values = [value for id in ids for value in (to_key(id, database), *same)]
    return f"{insert} VALUES {rows}", values


def write_kept(alias: str, jobs: Iterable[tuple[str, OutgoingJob]]) -> None:
    """Do as `write` for those of `jobs`, each behind its connection, whose result is kept. Their
    owner is the user of their own context.
    """
    alike: dict[tuple[str, str], list[OutgoingJob]] = {}
    for connection, job in jobs:
        if kept_among([job.payload]) and store() is not None:
            user = _owner_in(job.payload)
            alike.setdefault((connection, user), []).append(job)
    for (connection, user), some in alike.items():
        write(alias, connection, some, user)


def _owner_in(payload: str) -> str:
    carried = json.loads(context_text(payload) or "{}").get("values")
    user = carried.get("user_id") if isinstance(carried, dict) else None
    return "" if user is None else storable(str(user))[:255]


_WRITTEN = ("id", "name", "queue", "connection", "owner", "created_at", "keep_until")
"""The columns that a dispatch writes; the others have the defaults of the database."""


def _later(now: datetime, first: timedelta, seconds: float) -> datetime:
    try:
        return now + first + timedelta(seconds=seconds)
    except OverflowError:  # the push refuses such a job
        return now


# -- while it runs ---------------------------------------------------------------------------------


def reported(alias: str, news: Mapping[str, Reported]) -> None:
    """Store how far jobs have come, by their ids, in one statement."""
    if not news:
        return
    ids = sorted(news)
    columns = [
        Case(*(When(pk=id, then=Value(news[id][at])) for id in ids), default=name)
        for at, name in enumerate(PROGRESS)
    ]
    rows = table(alias).filter(pk__in=ids, finished_at=None)
    rows.update(**dict(zip(PROGRESS, columns, strict=True)))


def reported_unless_locked(alias: str, news: Mapping[str, Reported]) -> bool:
    """Do as `reported`, without waiting for rows that others lock. On SQLite everything is locked
    while another connection writes: False then, and nothing is stored.
    """
    try:
        with _waits_briefly(alias), transaction.atomic(using=alias):
            free = table(alias).filter(pk__in=sorted(news), finished_at=None).order_by("pk")
            ids = free.select_for_update(skip_locked=True).values_list("pk", flat=True)
            reported(alias, {id: news[id] for id in map(str, ids)})
    except OperationalError as error:
        if not is_locked(error):
            raise
        return False
    return True


@contextmanager
def _waits_briefly(alias: str) -> Iterator[None]:
    """On SQLite, wait 50 ms for the lock."""
    connection = connections[alias]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        (before,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {min(before, BRIEFLY)}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {before}")


PROGRESS = ("done", "total", "message")
"""The columns of a progress."""


def report_now(id: str, progress: Reported) -> None:
    """Store how far a job has come that runs in this process. A database that is away keeps it from
    nothing.
    """
    alias = store()
    if alias is not None:
        with suppress(DatabaseError), transaction.atomic(using=alias):
            reported(alias, {id: progress})


# -- at the end ------------------------------------------------------------------------------------


def end(alias: str, contents: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the ends of jobs, by their ids: the columns that say how each ended. A row that has an
    end keeps it: an earlier attempt has committed it.
    """
    alike: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for id in sorted(contents):
        alike.setdefault(tuple(contents[id].items()), []).append(id)
    for content, ids in alike.items():
        rows = table(alias).filter(pk__in=ids).exclude(status__in=(DONE, FAILED))
        rows.update(**dict(content), **_over())


def _over() -> dict[str, Any]:
    """Return the columns of a row whose job ends now."""
    known = settings().results
    kept = timedelta(seconds=0.0 if known is None else known.keep_for)
    return {"finished_at": UtcNow(), "keep_until": UtcNow() + kept}


def cancelled(ids: Sequence[str]) -> None:
    """Mark results as cancelled: their jobs were removed before their end. Ids without a row are
    ignored.
    """
    known = settings().results
    if known is None:
        return
    for some in slices(sorted(ids), _IDS):
        rows = table(known.database).filter(pk__in=some, finished_at=None)
        rows.update(status=CANCELLED, **_over())


def existing(alias: str, ids: Sequence[str]) -> list[str]:
    """Return those of the ids that have rows."""
    found: list[str] = []
    for some in slices(ids, _IDS):
        found += map(str, table(alias).filter(pk__in=some).values_list("pk", flat=True))
    return found


def kept_among(payloads: Iterable[str]) -> list[str]:
    """Return the ids of the jobs whose result is kept, of these payloads."""
    kept = (text for text in payloads if may_be_linked(text) and links_of(text).result)
    return sorted(filter(None, map(id_in, kept)))


def are_waiting(connection: str, queue: str) -> bool:
    """Return whether any job of a queue has a result that has no end yet."""
    alias = store()
    if alias is None:
        return False
    return table(alias).filter(connection=connection, queue=queue, finished_at=None).exists()


def restore(alias: str, ids: Sequence[str]) -> None:
    """Take back the ends of failed jobs that are retried. Call it before they are queued."""
    later = timezone.now() + LOST_AFTER
    for some in slices(sorted(ids), _IDS):
        rows = table(alias).filter(pk__in=some, status=FAILED)
        rows.update(
            status=WAITING,
            error=None,
            done=None,
            total=None,
            message="",
            finished_at=None,
            keep_until=later,
        )
