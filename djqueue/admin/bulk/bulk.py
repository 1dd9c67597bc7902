"""`Bulk`, an act on everything that matches: what it is for, and how far it has come."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from djqueue.admin.audit import log_alias, together
from djqueue.admin.bulk.matching import Cursor
from djqueue.admin.lists.selection import key_of
from djqueue.operations import audit
from djqueue.operations.results import Result
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    from djqueue.admin.bulk.matching import Matching, Part
    from djqueue.admin.lists.selection import Key, Selection
    from djqueue.admin.verbs.verb import Verb
    from djqueue.operations.results import Target

__all__ = ["LASTS", "SLICE", "STEP", "Bulk", "begin", "claim", "entries", "step", "unfinished"]

SLICE = 500
"""Rows that one transaction of an act holds."""
STEP = 1.5
"""Seconds in which a step begins slices."""
LASTS = timedelta(hours=24)
"""Time for which an act that was interrupted can go on."""
_HOLD = 15.0
"""Seconds for which a step keeps others from going on with the same act."""


@dataclass
class Bulk:
    """What is in the admin's log about the act, as JSON."""

    verb: str
    filter: Mapping[str, str] | str
    """For people."""
    query: str
    """The list's address, which has the filters."""
    newest: int | None
    """The newest row that is meant; None in another store, where the beginning counts."""
    began: str
    values: Mapping[str, Any]
    matched: int | None
    """Rows at the beginning, as far as they were counted."""
    place: Mapping[str, str]
    nouns: str
    """What the rows are called."""
    cursor: Cursor = field(default_factory=list)
    settled: list[Key] = field(default_factory=list)
    """Rows behind the cursor that are done: a store did not answer in the middle of a slice."""
    changed: int = 0
    skipped: int = 0
    why: dict[str, int] = field(default_factory=dict)
    """Reasons why rows were left, with how many."""
    ended: bool = False
    stopped: str = ""
    """Why the last step went no further."""
    held_until: float = 0.0
    """Until when a step is at it."""

    @property
    def done(self) -> int:
        """Return how many rows have been looked at."""
        return self.changed + self.skipped

    @property
    def missed(self) -> int:
        """Return how many rows did not match any more when it was their turn."""
        return max((self.matched or 0) - self.done, 0) if self.ended else 0

    @property
    def began_at(self) -> datetime:
        """Return when the act began."""
        return datetime.fromisoformat(self.began)

    def text(self) -> str:
        """Return what the log has of it."""
        return json.dumps({**asdict(self), **self.place})

    @classmethod
    def read(cls, entry: LogEntry) -> Bulk | None:
        """Return the act that an entry is about; None for an entry of another kind."""
        try:
            found = json.loads(entry.change_message)
            return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})
        except (ValueError, KeyError, TypeError):
            return None


def begin(user: Any, model: type[Model], flag: int, bulk: Bulk) -> LogEntry:
    """Write the act to the log, before anything is done."""
    about: dict[str, Any] = {
        "user_id": user.pk,
        "content_type_id": ContentType.objects.get_for_model(model).pk,
        "action_flag": flag,
        "object_repr": _label(bulk.nouns, 0),
        "change_message": bulk.text(),
    }
    # Without an object id: the admin's front page would link to an object that is not there.
    return LogEntry.objects.using(log_alias()).create(**about)


def entries(user: Any, model: type[Model]) -> QuerySet[LogEntry]:
    """Return the entries of the acts with which the user may go on."""
    return LogEntry.objects.using(log_alias()).filter(
        user_id=user.pk,
        content_type_id=ContentType.objects.get_for_model(model).pk,
        object_id=None,
        action_time__gte=timezone.now() - LASTS,
    )


def unfinished(user: Any, model: type[Model]) -> list[tuple[int, Bulk]]:
    """Return the acts of the user that were interrupted, newest first, with their numbers."""
    found = entries(user, model).filter(change_message__contains='"ended": false')
    read = ((entry.pk, Bulk.read(entry)) for entry in found.order_by("-pk")[:5])
    return [(pk, bulk) for pk, bulk in read if bulk is not None]


def claim(entry: LogEntry, bulk: Bulk) -> bool:
    """Keep other windows from going on with the act; return False if one is at it."""
    if bulk.ended or bulk.held_until > time.time():
        return False
    bulk.held_until = time.time() + _HOLD
    rows = LogEntry.objects.using(log_alias()).filter(
        pk=entry.pk, change_message=entry.change_message
    )
    entry.change_message = bulk.text()
    return rows.update(change_message=entry.change_message) == 1


def step(entry: LogEntry, bulk: Bulk, verb: Verb, rows: Matching, about: Selection) -> Result:
    """Do the next slices, for `STEP` seconds. Each is one transaction with its part of the log if
    the verb allows that. `about` says where the rows are, and who acts. What was done is on record
    also if an exception ends the step.
    """
    until = time.monotonic() + STEP
    total, bulk.stopped = Result(), ""
    try:
        while not bulk.ended and not bulk.stopped:
            part = rows.next(bulk.cursor, SLICE)
            keys = [key for key in part.keys if key not in bulk.settled]
            some = about._replace(
                keys=keys, values=bulk.values, total=bulk.matched or 0, before=bulk.done
            )
            alone = verb.commits_alone(some)
            done = verb.apply(some) if alone and keys else Result()
            total += done  # before anything else can fail: it is committed
            with together():
                if not alone and keys:
                    done = verb.apply(some)
                _count(bulk, done, part, rows)
                bulk.held_until = time.time() + _HOLD
                _save(entry, bulk)
            total += Result() if alone else done
            if time.monotonic() > until:
                break
        bulk.held_until = 0.0
        _save(entry, bulk)
    finally:
        _record(bulk, about, total)
    return total


def _record(bulk: Bulk, about: Selection, done: Result) -> None:
    ids = [target.label for target in done.changed[: audit.MOST_IDS]]
    scope = {**bulk.place, "filter": bulk.filter}
    audit.record(
        about.by, bulk.verb, len(done.changed), kept=len(done.left), filters=scope, ids=ids
    )


def _count(bulk: Bulk, done: Result, part: Part, rows: Matching) -> None:
    """Add what came of a slice. What a store that does not answer has kept is yet to be done: then
    the slice comes again, and those that are `settled` are not looked at a second time.
    """
    bulk.changed += len(done.changed)
    settled = list(map(_key, done.changed))
    if done.stopped is not None:
        bulk.stopped = str(done.stopped.one)
    for reason, group in done.reasons:
        known = [_key(each.target) for each in group if each.target is not None]
        count = len(known) if bulk.stopped else len(group)
        if reason != done.stopped and count:
            words = str(reason.many or reason.one)
            bulk.why[words] = bulk.why.get(words, 0) + count
            bulk.skipped += count
            settled += known
    if bulk.stopped:
        bulk.settled += settled
        return
    bulk.settled = []
    bulk.cursor = rows.behind(part, {key_of(target.id) for target in done.changed})
    bulk.ended = part.ended


def _key(target: Target) -> Key:
    return key_of(target.id) if target.row is None else target.row


def _save(entry: LogEntry, bulk: Bulk) -> None:
    entry.object_repr = _label(bulk.nouns, bulk.changed)
    entry.change_message = bulk.text()
    entry.save(using=log_alias(), update_fields=["object_repr", "change_message"])


def _label(nouns: str, count: int) -> str:
    return one_line(f"{count} {nouns}", 200)
