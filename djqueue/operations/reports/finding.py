"""Finding a job wherever it is, to say why it does not run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from django.db import DatabaseError

from djqueue.conf import settings
from djqueue.drivers import parking
from djqueue.errors import JobNotFound, QueueError, QueueUnavailable
from djqueue.operations import failed_jobs, selection
from djqueue.operations.reports import finished
from djqueue.operations.reports.why import (
    Where,
    Why,
    of_ended,
    of_failed,
    of_finished,
    of_stored,
    of_waiting,
)
from djqueue.results import asking, rows
from djqueue.text import short_ids

if TYPE_CHECKING:
    from djqueue.models import Outbox

__all__ = ["why"]

MOST = failed_jobs.CANDIDATES + 1
"""Jobs of one place that are looked at for a part of an id."""
_Candidates = Sequence[tuple[str, Callable[[], Why]]]


def why(
    text: str,
    connection: str | None = None,
    *,
    errors: bool = True,
    places: Collection[Where] = tuple(Where),
    within: float | None = None,
) -> Why:
    """Return why the job whose id is `text`, or begins or ends with it, does not run.

    Without `errors`, what its attempts raised is left out. Only `places` are looked at: SQL before
    other stores, which have `within` seconds to answer if that is given. Raises `JobNotFound`, also
    for a part of several ids; it names the stores and databases that could not be asked.
    """
    look = _Look(short_ids.digits(text), connection, errors, within)
    found: dict[str, Callable[[], Why]] = {}
    for place, candidates in look.all():
        if place in places:
            for id, say in candidates():
                found.setdefault(id, say)
        if found and look.whole:
            break
    if len(found) == 1:
        (say,) = found.values()
        return _translated(say)
    raise JobNotFound(f"{failed_jobs.not_found('job', text, list(found))}{''.join(look.silent)}")


def _translated(say: Callable[[], Why]) -> Why:
    try:
        return say()
    except DatabaseError as error:
        raise QueueUnavailable(f"The job exists. Why it does not run is not known: {error}") from (
            error
        )


def _waiting(alias: str, row: Outbox) -> Why:
    """Return why a job of the outbox does not run: of one that is parked as of a job of its store,
    as lists show it.
    """
    if row.parked and row.chain is None and row.connection in settings().connections:
        (job,) = parking.described([row])
        with suppress(QueueError):  # that store does not answer
            return of_stored(row.connection, job)
    return of_waiting(alias, row)


class _Look:
    """Looking for a job in one place after the other. Each gives ids that fit, and what says why
    such a job does not run.
    """

    def __init__(
        self, part: str, connection: str | None, errors: bool, within: float | None
    ) -> None:
        self.whole = len(part) == short_ids.LENGTH
        self.silent: list[str] = []
        """What could not be looked at, and why."""
        self._part, self._connection, self._errors = part, connection, errors
        self._within = within
        self._away: set[str] = set()
        self._names = selection.keepers(connection)

    def all(self) -> Iterator[tuple[Where, Callable[[], _Candidates]]]:
        """Yield the places, those first that answer at once and are sure."""
        yield Where.STORE, partial(self._stores, in_sql=True)
        yield Where.OUTBOX, self._outbox
        if (failed := settings().failed_jobs) is not None:
            yield Where.FAILED, partial(self._row, failed, self._failed)
        results = rows.store() if self.whole else None
        if self.whole:
            yield Where.FINISHED, partial(self._row, settings().job_database, self._finished)
        if results is not None:
            yield Where.RESULTS, partial(self._row, results, partial(self._ended, done=True))
        yield Where.STORE, partial(self._stores, in_sql=False)
        if results is not None:  # one that has failed is in its store again after a retry
            yield Where.RESULTS, partial(self._row, results, partial(self._ended, done=False))

    def _stores(self, *, in_sql: bool) -> _Candidates:
        known = settings().connections
        names = [name for name in self._names if known[name].jobs_in_sql == in_sql]
        silent = None if self._names == [self._connection] else self.silent
        within = None if in_sql else self._within
        found = selection.search(names, self._part, silent, within)
        return [(each.job.id, partial(of_stored, *each, errors=self._errors)) for each in found]

    def _outbox(self) -> _Candidates:
        every = [self._row(alias, partial(self._parked, alias)) for alias in settings().databases]
        return list(chain.from_iterable(every))

    def _row(self, alias: str, look: Callable[[], _Candidates]) -> _Candidates:
        """Look at a table of a database."""
        try:
            return look()
        except DatabaseError as error:
            if alias not in self._away:
                self._away.add(alias)
                self.silent.append(f' Database "{alias}" was not looked at. {error}')
            return []

    def _parked(self, alias: str) -> _Candidates:
        from djqueue.models import Outbox

        jobs = Outbox.objects.using(alias).exclude(connection="")  # a step that is a batch has none
        if self._connection is not None:
            jobs = jobs.filter(connection=self._connection)
        some = parking.search(jobs, self._part)[:MOST]
        return [(str(row.uuid), partial(_waiting, alias, row)) for row in some]

    def _failed(self) -> _Candidates:
        some = failed_jobs.fitting(self._part)
        return [(str(row.uuid), partial(of_failed, row, errors=self._errors)) for row in some]

    def _finished(self) -> _Candidates:
        if not settings().keep_done:
            return []
        row = finished.table().filter(uuid=self._part).order_by("-id").first()
        return [] if row is None else [(str(row.uuid), partial(of_finished, row))]

    def _ended(self, *, done: bool) -> _Candidates:
        row = rows.table(str(rows.store())).filter(id=self._part).first()
        ended = asking.ended_as(row)
        if row is None or ended is None or (done != (ended is asking.JobStatus.DONE)):
            return []
        return [(str(row.id), partial(of_ended, row, ended))]
