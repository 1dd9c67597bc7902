"""The unique keys of jobs in SQL: rows of `djqueue_keys`.

A row says which job has a key. That job has it only as long as it is in its store: so every end
frees the key, and no end has to do anything for it, or waits for the transaction of a dispatcher.

A dispatch looks first, without a lock, and takes only what is free. Only another dispatch of the
same key waits for it, until its transaction ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from djqueue.compat import delete_rows
from djqueue.databases.locking import delete_unlocked
from djqueue.databases.now import UtcNow
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.slices import slices
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.models import Key

__all__ = ["Holder", "Keys", "ended_elsewhere", "first_of_each", "free", "free_all"]
__all__ += ["holders_of", "key_of", "silent", "table", "taken", "unheld", "without_job"]

AT_ONCE = 200
"""Keys in one statement: SQLite may take 999 parameters."""
ROUNDS = 5
"""Looks for the job that has a key: it may end after each of them."""


class Holder(NamedTuple):
    """A row."""

    id: str
    """The job's."""
    has_it: bool
    """Whether that job still has the key."""


class Keys:
    """The keys of the jobs of one connection."""

    def __init__(self, alias: str, connection: str, has_ended: Q) -> None:
        """`has_ended`: the rows whose jobs are not in their store any more."""
        self._alias = alias
        self._connection = connection
        self.is_free = Case(
            When(has_ended | Q(until__lte=UtcNow()), then=Value(True)),
            default=Value(False),
        )

    def push(
        self,
        jobs: Sequence[OutgoingJob],
        push: Callable[[Sequence[OutgoingJob]], object],
        transaction: Callable[[], AbstractContextManager[object]],
    ) -> dict[str, str]:
        """Call `push`, in a transaction, with the jobs whose keys no other job has; they have them
        when that commits. Returns the id of that other job for each of the others. Several jobs
        with one key count as dispatched one after the other.
        """
        first = first_of_each(jobs)
        found: dict[str, str] = {}
        left = dict(sorted(first.items()))  # in one order, or two such calls wait for each other
        for _ in range(ROUNDS):
            holders = self.holders(left)
            found.update((key, holder.id) for key, holder in holders.items() if holder.has_it)
            wanted = {key: job for key, job in left.items() if found.get(key, job.id) == job.id}
            if not wanted:
                break
            with transaction():
                taken = self._take(wanted, {key: holder.id for key, holder in holders.items()})
                if taken:
                    push([job for key, job in wanted.items() if key in taken])
            left = {key: job for key, job in wanted.items() if key not in taken}
            if not left:
                break
        else:
            raise QueueUnavailable(_CHANGES.format(next(iter(left)), ROUNDS), ambiguous=False)
        return holders_of(jobs, first, found)

    def holders(self, keys: Iterable[str]) -> dict[str, Holder]:
        """Which jobs have the keys, or had them last. A plain read, which waits for nothing."""
        holders: dict[str, Holder] = {}
        for some in slices(list(keys), AT_ONCE):
            rows = table(self._alias).filter(key__in=some).annotate(is_free=self.is_free)
            for key, job, is_free in rows.values_list("key", "job", "is_free"):
                holders[key] = Holder(str(job), not is_free)
        return holders

    def _take(self, jobs: Mapping[str, OutgoingJob], before: Mapping[str, str]) -> set[str]:
        """Give the keys to `jobs`, in the open transaction; those that no other dispatch was given
        meanwhile. `before`: who had them when they were free.
        """
        taken: set[str] = set()
        rows = {key: self._row(job) for key, job in jobs.items()}
        for key in sorted(rows.keys() & before.keys()):
            row = rows.pop(key)
            old = table(self._alias).filter(key=key, job=before[key])
            names = ("job", "connection", "queue", "until", "taken_at")
            values = {name: getattr(row, name) for name in names}
            if old.update(**values):
                taken.add(key)
        new = [rows[key] for key in sorted(rows)]
        table(self._alias).bulk_create(new, batch_size=AT_ONCE // 2, ignore_conflicts=True)
        for some in slices(new, AT_ONCE // 2):
            mine = table(self._alias).filter(
                key__in=[row.key for row in some], job__in=[row.job for row in some]
            )
            taken.update(mine.values_list("key", flat=True))
        return taken

    def _row(self, job: OutgoingJob) -> Key:
        from djqueue.models import Key

        assert job.unique is not None  # noqa: S101 - it is pushed as a unique job
        key, seconds = job.unique
        until = None if seconds is None else UtcNow() + timedelta(seconds=seconds)
        return Key(
            key=key,
            job=job.id,
            connection=self._connection,
            queue=job.queue,
            until=until,
            taken_at=UtcNow(),
        )


def first_of_each(jobs: Sequence[OutgoingJob]) -> dict[str, OutgoingJob]:
    """Return the first job with each key, by the keys."""
    first: dict[str, OutgoingJob] = {}
    for job in jobs:
        first.setdefault(key_of(job), job)
    return first


def holders_of(
    jobs: Sequence[OutgoingJob], first: Mapping[str, OutgoingJob], found: Mapping[str, str]
) -> dict[str, str]:
    """Return for each of `jobs` that is kept out the id of the job that has its key: of the one
    that was `found` to have it, or of the first one of `jobs`.
    """
    by_job = {job.id: found.get(key := key_of(job), first[key].id) for job in jobs}
    return {id: holder for id, holder in by_job.items() if holder != id}


_CHANGES = 'The unique key "{}" was given to others {} times while a job was pushed.'


def key_of(job: OutgoingJob) -> str:
    """The key of a unique job."""
    assert job.unique is not None  # noqa: S101 - it is pushed as a unique job
    return job.unique.key


def free(alias: str, id: str, key: str) -> int:
    """Take the key from a job that has it; how many rows that are."""
    return delete_rows(table(alias).filter(key=key, job=id))


def free_all(alias: str, ids: Iterable[str], keys: Iterable[str]) -> None:
    """Take the keys from jobs that have ended. Leaves those that another transaction is about to
    give to others: `ended_elsewhere` knows that these have ended too.
    """
    delete_unlocked(table(alias).filter(key__in=sorted(set(keys)), job__in=list(ids)))


def taken(alias: str, connections_here: Sequence[str], key: str | None) -> Iterable[Key]:
    """Return the rows of the keys that jobs have, or of `key` alone. `connections_here` keep their
    jobs in the same database.
    """
    here = Q(connection__in=connections_here)
    has_ended = here & without_job() | ~here & ended_elsewhere()
    rows = table(alias).annotate(is_free=Keys(alias, "", has_ended).is_free)
    return (rows if key is None else rows.filter(key=key)).filter(is_free=False)


def unheld(alias: str, connection: str, queue: str) -> dict[str, str]:
    """Return the keys of jobs of a queue that no worker holds by their guard rows, and the ids of
    those jobs.
    """
    from djqueue.models import Run

    held = Run.objects.filter(uuid=OuterRef("job"), ended=False).exclude(held_as="")
    rows = table(alias).filter(~Q(Exists(held)), connection=connection, queue=queue)
    return {key: str(job) for key, job in rows.values_list("key", "job")}


def ended_elsewhere() -> Q:
    """The rows whose job has ended or was cancelled since it took the key, by its guard row."""
    from djqueue.models import Run

    runs = Run.objects.filter(uuid=OuterRef("job"), updated_at__gte=OuterRef("taken_at"))
    return Q(Exists(runs.filter(Q(ended=True) | Q(cancelled=True))))


def silent(since: object) -> Q:
    """The rows whose job no worker has held since then, by its guard row."""
    from djqueue.models import Run

    return ~Q(Exists(Run.objects.filter(uuid=OuterRef("job"), updated_at__gte=since)))


def without_job() -> Q:
    """The rows whose job is not in the jobs table of the same database."""
    from djqueue.models import QueuedJob

    return ~Q(Exists(QueuedJob.objects.filter(uuid=OuterRef("job"))))


def table(alias: str) -> QuerySet[Key]:
    """All rows in that database."""
    from djqueue.models import Key

    return Key.objects.using(alias)
