"""What all queues of a jobs table hold, read in three statements whose cost does not grow with the
table: names and oldest jobs by jumping along the index, and numbers up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections
from django.db.models import Count, Q

from djqueue.compat import read_time
from djqueue.databases import counting
from djqueue.databases.counting import Scalar
from djqueue.databases.now import UtcNow, aware
from djqueue.databases.sql import rows as rows_of
from djqueue.drivers.base import QueueCounts, State
from djqueue.drivers.database.rows import in_state, jobs
from djqueue.drivers.slices import slices
from djqueue.drivers.types import Census

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import QueuedJob

__all__ = ["census", "lines"]

SLICE = 80
"""Queues in a statement: fewer parameters than SQLite has ever refused."""

_NAMES = """
WITH RECURSIVE names(queue) AS (
    SELECT MIN(queue) FROM jobs
    UNION ALL
    SELECT (SELECT MIN(jobs.queue) FROM jobs WHERE jobs.queue > names.queue)
    FROM names WHERE names.queue IS NOT NULL
)
SELECT queue FROM names WHERE queue IS NOT NULL
"""
_OLDEST = """(
    WITH RECURSIVE priorities(line) AS (
        SELECT (SELECT jobs.line FROM jobs WHERE jobs.queue = %s AND jobs.line IS NOT NULL
                ORDER BY jobs.line LIMIT 1)
        UNION ALL
        SELECT (SELECT jobs.line FROM jobs WHERE jobs.queue = %s AND jobs.line > priorities.line
                ORDER BY jobs.line LIMIT 1)
        FROM priorities WHERE priorities.line IS NOT NULL
    )
    SELECT MIN((SELECT jobs.available_at FROM jobs
                WHERE jobs.queue = %s AND jobs.line = priorities.line
                ORDER BY jobs.available_at LIMIT 1))
    FROM priorities WHERE priorities.line IS NOT NULL
)"""
_HEAD = """(
    SELECT available_at FROM jobs WHERE queue = %s AND line = %s ORDER BY available_at LIMIT 1
)"""


def census(alias: str, known: Iterable[str], at_most: int) -> Mapping[str, Census]:
    """Return what each queue holds that is `known` or has rows, counted up to `at_most`."""
    database, held, names = connections[alias], _held(alias), lines(alias)
    found = {}
    for some in slices(sorted({*known, *held, *names}), SLICE):
        asked: list[Scalar] = []
        for queue in some:
            asked += _numbers(alias, queue, at_most, held.get(queue, _NOTHING_HELD).later)
            asked += _oldest(alias, queue, names.get(queue, ()))
        answers = iter(counting.answers(alias, asked))
        for queue in some:
            in_line, due, later, *times = (next(answers) for _ in range(5))
            reserved, stuck, held_later = held.get(queue, _NOTHING_HELD)
            delayed = max(later - held_later, 0)
            read = [aware(read_time(database, each)) for each in times]
            oldest = min((each for each in read if each is not None), default=None)
            waiting = min(in_line + due, at_most)
            found[queue] = Census(QueueCounts(waiting, delayed, reserved, oldest), stuck)
    return found


class _Held(NamedTuple):
    """Numbers of rows that workers hold."""

    reserved: int
    stuck: int
    later: int
    """Of these, the ones that are not due: hardly ever any."""


_NOTHING_HELD = _Held(0, 0, 0)


def _held(alias: str) -> dict[str, _Held]:
    """Return the numbers of reserved and stuck jobs, by queue. Workers hold a bounded number."""
    rows = jobs(alias).filter(reserved_by__isnull=False).order_by()
    # By holder first, which is the order of the index that has only what is held.
    held = rows.values("reserved_by", "queue").annotate(
        reserved=Count("pk"),
        stuck=Count("pk", filter=in_state(State.STUCK)),
        later=Count("pk", filter=Q(available_at__gt=UtcNow())),
    )
    found: dict[str, _Held] = {}
    for each in held:
        before = found.get(each["queue"], _NOTHING_HELD)
        found[each["queue"]] = _Held(
            before.reserved + each["reserved"],
            before.stuck + each["stuck"],
            before.later + each["later"],
        )
    return found


def lines(alias: str) -> dict[str, list[int]]:
    """Return the queues that have rows. On MySQL and MariaDB, which do not seek by a value of an
    outer query but jump from group to group, with the lines in each.
    """
    if not _by_groups(alias):
        return {name: [] for (name,) in rows_of(connections[alias], _NAMES)}
    pairs = jobs(alias).order_by().values_list("queue", "line").distinct()
    found: dict[str, list[int]] = {}
    for queue, line in pairs:
        found.setdefault(queue, []).extend([] if line is None else [line])
    return found


def _by_groups(alias: str) -> bool:
    return connections[alias].vendor == "mysql"


def _due(alias: str, queue: str) -> QuerySet[QueuedJob]:
    return _apart(alias, queue).filter(available_at__lte=UtcNow())


def _apart(alias: str, queue: str) -> QuerySet[QueuedJob]:
    return _here(alias, queue).filter(line__isnull=True, reserved_by__isnull=True)


def _here(alias: str, queue: str) -> QuerySet[QueuedJob]:
    rows = jobs(alias).filter(queue=queue)
    # In the order of the index, PostgreSQL uses no other; MariaDB would sort.
    return rows if _by_groups(alias) else rows.order_by("queue", "line", "available_at")


def _numbers(alias: str, queue: str, at_most: int, held: int) -> list[Scalar]:
    """Return the numbers of rows in line, due but not in line, and not due. The last has those too
    that are `held`, since the index knows nothing of that.
    """
    delayed = _here(alias, queue).filter(line__isnull=True, available_at__gt=UtcNow())
    in_line = _here(alias, queue).filter(line__isnull=False)
    return [
        counting.number(in_line, at_most),
        counting.number(_due(alias, queue), at_most),
        counting.number(delayed, at_most + held),
    ]


def _oldest(alias: str, queue: str, own: Sequence[int]) -> list[Scalar]:
    """Return the times since when rows are in line, in their `own` lines, and due but not in
    line.
    """
    due = _due(alias, queue).order_by("queue", "line", "available_at").values("available_at")[:1]
    if not _by_groups(alias):
        return [Scalar(_OLDEST, (queue,) * 3), counting.first(due)]
    heads = " UNION ALL ".join(["SELECT NULL AS since", *[f"SELECT {_HEAD}"] * len(own)])
    params = tuple(param for line in own for param in (queue, line))
    return [Scalar(f"(SELECT MIN(since) FROM ({heads}) AS heads)", params), counting.first(due)]
