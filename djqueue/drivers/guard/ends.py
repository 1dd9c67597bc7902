"""The rows of jobs that have ended, for stores that keep no guard rows.

Each belongs to one push of its job: a retry takes it over.
"""

from __future__ import annotations

import json
import uuid as uuids
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from djqueue.databases.now import UtcNow
from djqueue.drivers.guard.table import AT_ONCE, Table
from djqueue.drivers.slices import slices
from djqueue.payload.links import links_of, may_be_linked, stored_links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

    from djqueue.models import Run


LONGEST = 90
"""Characters of a connection's name that a row has room for."""


class EndRow:
    """The row of `job` in the database `alias`."""

    def __init__(self, alias: str, job: str, payload: str) -> None:
        self._alias = alias
        self._id = uuids.UUID(job)
        self.push = links_of(payload).push if may_be_linked(payload) else ""
        self._is_new = False

    @property
    def id(self) -> str:
        """The id of the row."""
        return str(self._id)

    @property
    def _rows(self) -> QuerySet[Run]:
        from djqueue.models import Run

        return Run.objects.using(self._alias).filter(uuid=self._id)

    def write(self) -> bool:
        """Note in the open transaction that the job has ended. Return False if that is noted
        already. Waits for a transaction that notes it at the same time.
        """
        if not self._rows.exists():
            try:
                with transaction.atomic(using=self._alias):
                    self._rows.create(uuid=self._id, **self._values())
            except IntegrityError:
                pass  # it has been written this moment
            else:
                self._is_new = True
                return True
        return self._rows.exclude(push_id=self.push, ended=True).update(**self._values()) == 1

    def _values(self) -> dict[str, Any]:
        return {"ended": True, "push_id": self.push, "updated_at": UtcNow()}

    def take_back(self) -> None:
        """Undo what `write` has done in the same transaction: the job has not ended."""
        if self._is_new:
            self._rows.delete()
        else:
            self._rows.update(ended=False)

    def exists(self) -> bool:
        """Return whether it is noted that the job has ended."""
        return self._rows.filter(push_id=self.push, ended=True).exists()


def write_ends(alias: str, payloads: Mapping[str, str]) -> set[str]:
    """Do as `EndRow.write` for many jobs, whose payloads are given by their ids. Return the ids of
    those whose end was not noted before.
    """
    rows = {id: EndRow(alias, id, payloads[id]) for id in sorted(payloads)}  # the order of locks
    table, new = Table(alias), set[str]()
    for some in slices(rows.values(), AT_ONCE):
        new |= table.insert_ended({each.id: each.push for each in some})
    return {id for id, row in rows.items() if row.id in new or row.write()}


def numbers(alias: str, ids: Sequence[str]) -> dict[str, int]:
    """Return the fencing numbers in the rows of jobs, by id. Jobs without a row are left out."""
    from djqueue.models import Run

    rows = Run.objects.using(alias).filter(pk__in=ids)
    return {str(id): number for id, number in rows.values_list("pk", "reservation")}


def write_ends_unless_taken(
    alias: str, payloads: Mapping[str, str], before: Mapping[str, int]
) -> set[str]:
    """Do as `write_ends` for jobs that no worker has taken since their `numbers` were those of
    `before`, and that are neither cancelled nor ended.
    """
    from djqueue.models import Run

    rows = {id: EndRow(alias, id, payloads[id]) for id in sorted(payloads)}
    ended = Table(alias).insert_ended({id: rows[id].push for id in rows if id not in before})
    free = Run.objects.using(alias).filter(ended=False, cancelled=False)
    for id in rows.keys() & before.keys():
        here = free.filter(pk=id, reservation=before[id])
        values = {"ended": True, "push_id": rows[id].push, "updated_at": UtcNow()}
        ended |= {id} if here.update(**values) else set()
    return ended


def removing_from(connection: str) -> str:
    """Return what holds the row of a job that is about to be removed from the store of
    `connection`. Whether it was, only those who know that connection can tell.
    """
    if len(connection) > LONGEST:
        connection = f"{connection[: LONGEST - 33]}:{sha256(connection.encode()).hexdigest()[:32]}"
    return f"removing:{connection}"


def note_removals(alias: str, connection: str, payloads: Mapping[str, str]) -> None:
    """Note, before the store of `connection` is asked to remove jobs, what they are bound to. If
    this process dies before it has written that they have ended, a worker does. Payloads are given
    by ids.
    """
    held_as = removing_from(connection)
    from djqueue.models import Run

    rows = Run.objects.using(alias)
    known = set(
        map(str, rows.filter(pk__in=list(filter(None, payloads))).values_list("pk", flat=True))
    )
    # A row of a retried job is about its last failure, and stays.
    rows.filter(pk__in=known, ended=False).update(held_as=held_as, updated_at=UtcNow())
    bound = {id: links_of(text) for id, text in payloads.items() if id and id not in known}
    rows.bulk_create(
        [
            Run(
                uuid=id,
                held_as=held_as,
                push_id=links.push,
                batch_id=links.batch,
                history=json.dumps(stored_links(links._replace(previous=None))),
                updated_at=UtcNow(),
            )
            for id, links in bound.items()
        ],
        ignore_conflicts=True,  # another process removes one of them
    )


class CommittedRow(EndRow):
    """The row of an atomic job in the database of its transaction, where what follows from its end
    is in another one. It says how the job ended until that is written, and stands beside the row
    that the store itself may have for the job.
    """

    def __init__(self, alias: str, job: str, payload: str) -> None:
        super().__init__(alias, job, payload)
        self._id = uuids.uuid5(self._id, "committed")

    def keep(self, text: str) -> None:
        """Note how the job ended, after `write` in the same transaction."""
        self._rows.update(history=text)

    def kept(self) -> str | None:
        """Return what `keep` has noted; None if the job has not ended."""
        rows = self._rows.filter(push_id=self.push, ended=True)
        text: str | None = rows.values_list("history", flat=True).first()
        return text
