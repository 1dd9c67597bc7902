"""Who did what: rows of the admin's own log, and a line on the logger ``djqueue.audit``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connections, router, transaction

from djqueue.admin.lists.selection import key_of
from djqueue.operations import audit as auditing
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from djqueue.operations.results import Target

SINGLE_ROWS = 100
"""More objects than this are one row that says how many."""
_PLACES = ("connection", "database")


def log_alias() -> str:
    """Return the database of the admin's log. An action's transaction covers it as well."""
    return router.db_for_write(LogEntry)


@contextmanager
def together() -> Iterator[None]:
    """Open the transaction of an act and its row of the log."""
    alias = log_alias()
    with transaction.atomic(using=alias):
        if not connections[alias].features.has_select_for_update:
            # SQLite: the first statement has to be a write. To one that read before, and writes
            # when another operator has written, the database is locked at once.
            LogEntry.objects.using(alias).filter(pk=-1).update(action_flag=CHANGE)
        yield


class Act(NamedTuple):
    """The latest entry about a row."""

    verb: str
    user: str
    at: datetime


def last_act(model: type[Model], pk: int, alias: str) -> Act | None:
    """Return who acted on a row first, for the message about a row that is gone."""
    rows = LogEntry.objects.using(log_alias()).filter(
        content_type_id=ContentType.objects.get_for_model(model).pk, object_id=str(pk)
    )
    for entry in rows.select_related("user").order_by("-action_time")[:10]:
        if is_about(entry, {"database": alias}):
            verb = str(details(entry).get("verb", ""))
            return Act(verb, one_line(entry.user.get_username()), entry.action_time)
    return None


def details(entry: LogEntry) -> Mapping[str, Any]:
    """Return the text of a row of the log; nothing if djqueue did not write it."""
    try:
        found = json.loads(entry.change_message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_about(entry: LogEntry, place: Mapping[str, str]) -> bool:
    """Return whether a row of the log is about a job there: in two databases, or in a database and
    another store, jobs may share a number.
    """
    recorded = {key: str(where) for key, where in details(entry).items() if key in _PLACES}
    return not recorded or recorded == place


class HistoryLine(NamedTuple):
    """A row of the log as the history page reads it."""

    action_time: datetime
    user: Any
    get_change_message: str

    @classmethod
    def of(cls, entry: LogEntry, labels: Mapping[str, str]) -> HistoryLine:
        """Return `entry` with the label of its verb in the place of its stored message."""
        verb = details(entry).get("verb")
        message = labels.get(str(verb)) or one_line(entry.get_change_message())
        return cls(entry.action_time, entry.user, message)


def history(
    entries: Iterable[LogEntry], labels: Mapping[str, str], place: Mapping[str, str]
) -> list[HistoryLine]:
    """Return the entries about a row there, with the labels of their verbs."""
    return [HistoryLine.of(entry, labels) for entry in entries if is_about(entry, place)]


def note(
    request: HttpRequest, model: type[Model], verb: str, label: str, details: Mapping[str, Any]
) -> None:
    """Record an act that is about no row, as pausing a queue. `label` says what it was about."""
    about: dict[str, Any] = {
        "user_id": request.user.pk,
        "content_type_id": ContentType.objects.get_for_model(model, for_concrete_model=False).pk,
    }
    message = json.dumps({"verb": verb, **details})
    LogEntry.objects.using(log_alias()).create(
        **about, action_flag=CHANGE, object_repr=one_line(label, 200), change_message=message
    )
    auditing.record(request.user.get_username(), verb, 1, filters={"queues": label, **details})


class Record:
    """The log of one action, written slice by slice, each within the slice's own transaction."""

    def __init__(
        self,
        request: HttpRequest,
        model: type[Model],
        flag: int,
        verb: str,
        place: Mapping[str, str],
        scope: Mapping[str, Any],
    ) -> None:
        self._user = request.user
        self._model = model
        self._verb = verb
        self._place = place
        """The database, or the connection."""
        self._scope = {**place, **scope}
        """The same, and what chose the rows."""
        self._common: dict[str, Any] = {
            "user_id": request.user.pk,
            "content_type_id": ContentType.objects.get_for_model(model).pk,
            "action_flag": flag,
        }
        self._summary: LogEntry | None = None
        self._labels: list[str] = []
        self._changed = 0
        self._kept = 0

    def add(self, changed: Sequence[Target], kept: int, *, alone: bool) -> None:
        """Record a finished slice. With `alone` it is the only one, and a few rows get an entry
        each.
        """
        self._changed += len(changed)
        self._kept += kept
        self._labels += [row.label for row in changed]
        if alone and len(changed) <= SINGLE_ROWS:
            recorded = json.dumps({"verb": self._verb, **self._scope})
            LogEntry.objects.using(log_alias()).bulk_create(
                LogEntry(
                    **self._common,
                    object_id=str(row.row or key_of(row.id)),
                    object_repr=one_line(row.label, 200),
                    change_message=recorded,
                )
                for row in changed
            )
        elif changed or self._summary is not None:
            self._write_summary()

    def _write_summary(self) -> None:
        # Without an object id: the admin's front page would link to an object that is not there.
        entry = self._summary or LogEntry(**self._common)
        entry.object_repr = f"{self._changed} {self._model._meta.verbose_name_plural}"[:200]
        entry.change_message = json.dumps(
            {
                "verb": self._verb,
                **self._scope,
                "changed": self._changed,
                "skipped": self._kept,
            }
        )
        entry.save(using=log_alias())
        self._summary = entry

    def close(self) -> None:
        """Write the line for the logger, when all slices are finished."""
        if self._changed:
            auditing.record(
                self._user.get_username(),
                self._verb,
                self._changed,
                kept=self._kept,
                filters=self._scope,
                ids=self._labels,
            )
