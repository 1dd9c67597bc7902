"""One look at what is wrong, and what of it is said. Each step is one conditional statement, so
that of several workers one looks, and one says it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from djqueue.conf import settings
from djqueue.databases import holding
from djqueue.databases.now import UtcNow
from djqueue.notify.finding import Found, find, is_pruned
from djqueue.notify.receivers import Message, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

    from djqueue.models import Incident

__all__ = ["EVERY", "look"]

logger = logging.getLogger("djqueue.worker")

EVERY = 30.0
"""Seconds between two looks of all workers together."""
QUIET = 120.0
"""Seconds for which an incident is not seen before it is right again; 0 for workers and pauses,
which do not come and go.
"""
SAYING = 120.0
"""Seconds that a process has to say something, before another one tries."""


def look(*, elected: bool = False, quiet: float = QUIET) -> list[Found]:
    """Look for what is wrong, and say what is new. Return what is wrong; nothing if another process
    has looked a moment ago, unless this one is `elected` already.
    """
    if not (elected or _elect()):
        return []
    found, complete = find()
    _record(found)
    me = holding.new_holder()
    new = _rows().filter(said_at=None, key__in=[each.key for each in found])
    begun = [row for row in new.order_by("pk") if _mine(row, me)]
    ended = [row for row in _ended(found, quiet, complete=complete) if _mine(row, me)]
    if begun or ended:
        _say(begun, ended, me)
    return found


def _elect() -> bool:
    """Return whether it is time for a look, and this process is the one that has it."""
    from djqueue.models import Incident

    rows = Incident.objects.using(settings().job_database)
    late = UtcNow() - timedelta(seconds=EVERY * 0.9)
    if rows.filter(key=Incident.WATCH, seen_at__lte=late).update(seen_at=UtcNow()):
        return True
    if rows.filter(key=Incident.WATCH).exists():
        return False
    long_ago = UtcNow() - timedelta(days=1)
    rows.bulk_create(
        [Incident(key=Incident.WATCH, begun_at=long_ago, seen_at=long_ago)], ignore_conflicts=True
    )
    return bool(rows.filter(key=Incident.WATCH, seen_at__lte=late).update(seen_at=UtcNow()))


def _record(found: Sequence[Found]) -> None:
    from djqueue.models import Incident

    rows = [
        Incident(key=each.key, text=each.text, begun_at=UtcNow(), seen_at=UtcNow())
        for each in found
    ]
    Incident.objects.using(settings().job_database).bulk_create(rows, ignore_conflicts=True)
    _rows().filter(key__in=[each.key for each in found]).update(seen_at=UtcNow())


def _ended(found: Sequence[Found], quiet: float, *, complete: bool) -> list[Incident]:
    """Return the incidents that are right again. Those whose beginning was never said, and workers
    of which nothing more is known, are forgotten.
    """
    ended = []
    now = _now()
    for row in _rows().exclude(key__in=[each.key for each in found]):
        comes_and_goes = not row.key.startswith(("worker:", "pause:"))
        if row.key.startswith("waits:") and not complete:
            continue  # perhaps of a connection that could not be asked
        if comes_and_goes and (now - row.seen_at).total_seconds() < quiet:
            continue
        if row.said_at is None or is_pruned(row.key):
            _rows().filter(pk=row.pk).delete()
        else:
            ended.append(row)
    return ended


def _say(begun: Sequence[Incident], ended: Sequence[Incident], me: str) -> None:
    mine = holding.held(_rows(), me)
    now = _now()
    message = Message(
        tuple(row.text for row in begun),
        tuple((row.text, (now - row.begun_at).total_seconds()) for row in ended),
    )
    if send(message, settings().notify.receivers):
        mine.filter(pk__in=[row.pk for row in ended]).delete()
        mine.update(said_at=UtcNow(), taken_until=None, taken_by="")
    else:
        holding.release(_rows(), me)  # the next look tries again


def _mine(row: Incident, me: str) -> bool:
    """Return whether this process is the one that says it."""
    unchanged = _rows().filter(pk=row.pk, said_at__isnull=row.said_at is None)
    return bool(holding.take(unchanged, me, SAYING))


def _now() -> datetime:
    from djqueue.models import Incident

    rows = Incident.objects.using(settings().job_database)
    shown: datetime | None = rows.values_list(UtcNow(), flat=True).first()
    return shown or timezone.now()


def _rows() -> QuerySet[Incident]:
    from djqueue.models import Incident

    return Incident.objects.using(settings().job_database).exclude(key=Incident.WATCH)
