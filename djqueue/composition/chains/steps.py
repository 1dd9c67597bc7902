"""The steps of a chain that wait for their turn: rows of the outbox without a due time.

A step that runs has no row; the next one is the waiting row with the lowest position. A row leaves
when its step takes its turn, in the transaction that stores the end of the step before, so each
step exists once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, transaction
from django.db.models import Max, Min, Q
from django.db.models.functions import Coalesce

from djqueue.compat import delete_rows
from djqueue.composition.ended import Turn
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.drivers import driver_class, parking
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.types import OutboxRow
from djqueue.errors import ConfigurationError
from djqueue.payload.links import LINKS_MARK, Links, chains_of, links_of, may_be_linked, with_step
from djqueue.results import rows as results

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.models import Outbox
    from djqueue.runner.outcome import PassedOn

ON_FAILURE = 2**31 - 1
"""The position of the job that runs once, if a step fails."""
MEMBER = -(2**31)
"""The position of members of a batch that wait for its turn. Their rows name the batch as their
chain."""

MOST_SHOWN = 50
"""Steps that wait which operators are shown; of others the number."""

Push = tuple[str, OutgoingJob]
"""A job, behind the name of its connection."""


class Waiting(NamedTuple):
    """A step to be written."""

    connection: str
    job: OutgoingJob
    position: int


def store() -> str:
    """The alias of the database with the steps that wait."""
    return settings().shared_database


def write(alias: str, chain: str, steps: Sequence[Waiting]) -> None:
    """Write steps of a chain that wait, as a part of the open transaction of `alias`; or what waits
    of a batch.
    """
    if not steps:
        return
    results.write_kept(alias, ((connection, job) for connection, job, _ in steps))
    rows = [
        OutboxRow(connection, job, chain=chain, position=position, delay=job.delay)
        for connection, job, position in steps
    ]
    parking.insert(alias, rows)


def add(alias: str, chain: str, passed_on: PassedOn) -> None:
    """Write the steps that a step has added to its chain, in front of those that wait or behind."""
    before, behind = passed_on.get("prepended", ()), passed_on.get("appended", ())
    if not before and not behind:
        return
    ends = _steps(alias, chain).aggregate(first=Min("position"), last=Max("position"))
    first, last = ends["first"] or 0, ends["last"] or 0
    added = [(first - len(before), before), (last + 1, behind)]
    write(
        alias,
        chain,
        [
            Waiting(connection, OutgoingJob(*job), start + place)
            for start, some in added
            for place, (connection, *job) in enumerate(some)
        ],
    )


def take_next(alias: str, chain: str) -> Outbox | None:
    """Remove the next step of a chain from those that wait, and return its row. None: it was the
    last, or is for a connection that throws jobs away, and all that waits goes as well.
    """
    row = _take_first(alias, chain)
    if row is not None and not discards(row.connection):
        return row
    if row is not None:
        results.cancelled(results.kept_among([row.payload]))
    _delete(waiting(alias, chain))
    return None


def _take_first(alias: str, chain: str) -> Outbox | None:
    from djqueue.models import Outbox

    connection = connections[alias]
    if connection.vendor == "mysql":  # it returns nothing of the rows that it deletes
        row = _steps(alias, chain).select_for_update().order_by("position").first()
        if row is not None:
            delete_rows(waiting(alias, chain).filter(pk=row.pk))
        return row
    locked = " FOR UPDATE" if connection.features.has_select_for_update else ""
    sql = (
        "DELETE FROM djqueue_outbox WHERE id = (SELECT id FROM djqueue_outbox WHERE chain = %s AND"
        f" position <> %s ORDER BY position LIMIT 1{locked}) RETURNING *"
    )
    return next(iter(Outbox.objects.using(alias).raw(sql, [chain, ON_FAILURE])), None)


def bound(row: Outbox, links: Links) -> Push:
    """Return the job of a step, bound by `links`."""
    return as_push(row, with_step(row.payload, links), "" if links.retried else links.batch)


def take_members(alias: str, batch: str, limit: int) -> list[Outbox]:
    """Remove up to `limit` members of a batch from those that wait for its turn, and return their
    rows.
    """
    waits = waiting(alias, batch).filter(position=MEMBER).order_by("pk")
    rows = list(waits.select_for_update()[:limit])
    if rows:
        delete_rows(waiting(alias, batch).filter(pk__in=[row.pk for row in rows]))
    return rows


def find_member(alias: str, id: str) -> Outbox | None:
    """Return the row of a member that waits for the turn of its batch."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(uuid=id, position=MEMBER).first()


def take_member(alias: str, row: Outbox) -> bool:
    """Remove the row of a member. Return whether it was still there."""
    from djqueue.models import Outbox

    return delete_rows(Outbox.objects.using(alias).filter(pk=row.pk)) > 0


def is_batch(row: Outbox) -> bool:
    """Return whether a row that waits stands for a batch, whose id is its uuid."""
    return not row.connection


def look_at(alias: str, group: str, position: int) -> list[Push]:
    """Return the job that waits at a position, if there is one that is not thrown away."""
    rows = waiting(alias, group).filter(position=position)
    return [as_push(row, row.payload) for row in rows if not discards(row.connection)]


def take_at(alias: str, group: str, position: int) -> list[Push]:
    """Remove the job that waits at a position, if there is one, and return it, unless it is thrown
    away.
    """
    rows = list(waiting(alias, group).filter(position=position).select_for_update())
    for row in rows:
        delete_rows(waiting(alias, group).filter(pk=row.pk))
    throw_away(alias, [row.payload for row in rows if discards(row.connection)])
    return [as_push(row, row.payload) for row in rows if not discards(row.connection)]


def throw_away(alias: str, payloads: Sequence[str]) -> None:
    """Jobs are thrown away by their connection: their results are cancelled, their chains end."""
    results.cancelled(results.kept_among(payloads))
    give_up(alias, chains_of(payloads))


def discards(connection: str) -> bool:
    """Return whether a connection throws jobs away."""
    if not connection:
        return False  # of a batch each member has its own
    try:
        return driver_class(settings().connection(connection)).capabilities.discards
    except ConfigurationError:
        return False  # another worker knows it


def break_off(alias: str, chain: str, *, for_good: bool) -> list[Push]:
    """A step has failed: those that wait go on waiting, until it is retried; `for_good` they go.
    Returns the job for a failure, once in the life of a chain.
    """
    pushed = [
        (connection, job._replace(payload=with_step(job.payload, Links(once=True))))
        for connection, job in take_at(alias, chain, ON_FAILURE)
    ]
    if for_good:
        _delete(waiting(alias, chain))
    else:
        waiting(alias, chain).update(broken=True)
    return pushed


def restore(alias: str, chains: Sequence[str]) -> None:
    """The failed steps of these chains are retried: the steps behind them wait for them again."""
    from djqueue.models import Outbox

    Outbox.objects.using(alias).filter(chain__in=chains).update(broken=False)


def give_up(alias: str, chains: Sequence[str]) -> int:
    """Delete all that waits in these chains. Return the number of rows."""
    from djqueue.models import Outbox

    return _delete(Outbox.objects.using(alias).filter(chain__in=chains)) if chains else 0


def give_up_with(alias: str, ids: Sequence[str]) -> int:
    """Delete all that waits in the chains of which jobs with these ids are steps that wait. Of
    those that run because of a failure, or for a batch, delete them alone. Members of batches stay.
    Return the number of rows.
    """
    from djqueue.models import JobBatch, Outbox

    rows = Outbox.objects.using(alias).filter(uuid__in=ids, chain__isnull=False)
    rows = rows.exclude(position=MEMBER)
    groups = {str(chain) for chain in rows.values_list("chain", flat=True)}
    batches = set(JobBatch.objects.using(alias).filter(pk__in=groups).values_list("pk", flat=True))
    alone = rows.filter(Q(position=ON_FAILURE) | Q(chain__in=batches))
    chains = rows.exclude(position=ON_FAILURE).values_list("chain", flat=True)
    ended = sorted({str(chain) for chain in chains} - batches)
    return _delete(alone) + give_up(alias, ended)


def end(alias: str, chain: str) -> tuple[set[str], int]:
    """Delete all that waits in a chain, in one transaction in which none of it takes its turn.
    Return the ids of the steps among it, and the number of rows.
    """
    with transaction.atomic(using=alias):
        locked = waiting(alias, chain).select_for_update().values_list("uuid", "position")
        ids = {str(id) for id, position in locked if position != ON_FAILURE}
        return ids, give_up(alias, [chain])


def are_waiting(alias: str) -> bool:
    """Return whether a step of any chain waits."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(chain__isnull=False).exists()


def count(alias: str, chain: str) -> int:
    """Return the number of steps that wait."""
    return _steps(alias, chain).count()


class WaitingStep(NamedTuple):
    """A step that waits for its turn."""

    id: str
    name: str
    connection: str
    queue: str


class ChainOf(NamedTuple):
    """The chain of a job."""

    id: str
    position: int
    """The number of the job among its steps, from 1."""
    length: int
    """The steps that ran, the job, and those that wait."""
    waiting: Sequence[WaitingStep]
    """The next of those that wait, in order."""
    on_failure: str
    """The name of the job that runs if a step fails; empty if there is none, or if it was called
    for."""
    broken: bool
    """Those that wait do so until a failed step is retried."""


def chain_of(payload: str) -> ChainOf | None:
    """Return the chain of which a job with this payload is a step; None where it is of none."""
    if not may_be_linked(payload) or not (links := links_of(payload)).chain:
        return None
    rows = waiting(store(), links.chain).order_by("position")
    rows = rows.only("uuid", "name", "connection", "queue", "position", "broken")
    others = rows.exclude(position=ON_FAILURE)
    found = [
        WaitingStep(str(row.uuid), row.name, row.connection, row.queue)
        for row in others[:MOST_SHOWN]
    ]
    alert = rows.filter(position=ON_FAILURE).first()
    return ChainOf(
        links.chain,
        links.step,
        links.step + (len(found) if len(found) < MOST_SHOWN else others.count()),
        found,
        "" if alert is None else alert.name,
        others.filter(broken=True).exists(),
    )


def waiting(alias: str, chain: str) -> QuerySet[Outbox]:
    """Every row of a chain."""
    from djqueue.models import Outbox

    return Outbox.objects.using(alias).filter(chain=chain)


def _steps(alias: str, chain: str) -> QuerySet[Outbox]:
    return waiting(alias, chain).exclude(position=ON_FAILURE)


def _delete(rows: QuerySet[Outbox]) -> int:
    """Delete steps that will not run: where their results are kept, these are cancelled."""
    read = rows.filter(Q(payload__contains=LINKS_MARK) | Q(connection=""))
    found = list(read.values_list("connection", "uuid", "payload"))
    results.cancelled(results.kept_among(payload for _, _, payload in found))
    deleted = delete_rows(rows)
    if batches := [str(id) for connection, id, _ in found if not connection]:
        give_up_batches(rows.db, batches)
    return deleted


def give_up_batches(alias: str, batches: Sequence[str]) -> None:
    """The turn of these batches will not come: they call for nothing, and a worker removes their
    members.
    """
    from djqueue.models import JobBatch, Outbox

    _delete(Outbox.objects.using(alias).filter(chain__in=batches).exclude(position=MEMBER))
    JobBatch.objects.using(alias).filter(pk__in=batches, turn=Turn.WAITS).update(
        turn=Turn.OVER,
        open_until=None,
        cancelled_at=Coalesce("cancelled_at", UtcNow()),
        reason="its chain has ended",
        upkeep_at=UtcNow(),
    )
    chains = JobBatch.objects.using(alias).filter(pk__in=batches).values_list("chain", flat=True)
    give_up(alias, sorted(filter(None, chains)))


def close_batches(alias: str, batches: Sequence[str]) -> None:
    """All members of these batches are in, and wait for their turn."""
    from djqueue.models import JobBatch

    JobBatch.objects.using(alias).filter(pk__in=batches).update(open_until=None)


def as_push(row: Outbox, payload: str, batch: str = "") -> Push:
    """Return the job of a row that waits, behind its connection, as a member of `batch`."""
    return row.connection, OutgoingJob(
        str(row.uuid),
        row.queue,
        row.name,
        payload,
        row.delay,
        row.priority,
        row.message_group,
        row.deduplication_id,
        row.push_id,
        None,
        batch,
    )
