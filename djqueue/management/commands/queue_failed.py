from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from djqueue.management.base import QueueCommand
from djqueue.management.options import (
    add_failed_filters,
    add_json,
    add_limit,
    failed_selection,
    limit_of,
)
from djqueue.management.queue_names import mistyped_failed
from djqueue.operations import failed_jobs
from djqueue.operations.reports import failures
from djqueue.operations.reports.listing import attempts_of, listed_failed_job, shown_name
from djqueue.operations.words import number_of, relative
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.core.management.base import CommandParser

    from djqueue.models import FailedJob
    from djqueue.operations.failed_jobs import Selection
    from djqueue.operations.reports.failures import Group

COLUMNS = ("failed", "name", "queue", "attempts", "id")
PIPED = ("id", "row", "name", "queue", "failed_at", "exception_class", "message")

GROUPS = ("number", "name", "last", "group")
GROUP = {
    "group": "fingerprint",
    "number": "number",
    "name": "name",
    "exception_class": "exception_class",
    "place": "place",
    "first_at": "first",
    "last_at": "last",
}
"""What pipes and JSON have of a group, and what `Group` calls it."""


class Command(QueueCommand):
    help = "List the failed jobs, newest first: when, which, how often it was tried, and why."
    examples = (
        "queue_failed --queue mail --since 1h",
        "queue_failed --name shop.SendReceipt --limit 0 --json",
        "queue_failed --groups --since 1d",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_failed_filters(parser)
        parser.add_argument(
            "--groups",
            action="store_true",
            help="list groups, the largest first: one job, one exception class, one place of the "
            "code",
        )
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        selection = failed_selection(options)
        if options["groups"]:
            self._groups(selection, options)
            return
        found = failed_jobs.listed(selection, limit_of(options))
        shown = islice(found, options["limit"] or None)
        if options["json"]:
            for row in shown:
                self.json(listed_failed_job(row))
        elif self.stdout.isatty():
            self._write(shown, options["queue"])
        else:
            self.rows(PIPED, map(_cells, map(listed_failed_job, shown)))
        if next(found, None) is not None:
            total = number_of(failed_jobs.count(selection), "failed job")
            self.remark(f"These are {options['limit']} of {total}; --limit 0 shows all.")

    def _groups(self, selection: Selection, options: Mapping[str, Any]) -> None:
        rows = failed_jobs.table().filter(selection.condition())
        found = failures.groups(rows, options["limit"] or failures.AT_MOST)
        now = timezone.now()
        if options["json"]:
            for each in found.groups:
                self.json({key: getattr(each, name) for key, name in GROUP.items()})
        elif self.stdout.isatty():
            self.entries(GROUPS, (_group(each, now) for each in found.groups))
        else:
            cells = ([getattr(each, name) for name in GROUP.values()] for each in found.groups)
            self.rows(tuple(GROUP), cells)
        if found.more:
            self.remark(f"There are {found.more:,} more groups; --limit 0 shows all.")
        if found.capped:
            self.remark(f"These are the newest {failures.AT_MOST:,} failed jobs.")

    def _write(self, found: Iterable[FailedJob], queue: str | None) -> None:
        rows = list(found)
        now = timezone.now()
        if rows:
            self.entries(COLUMNS, (_entry(listed_failed_job(row), now) for row in rows))
        else:
            text = "No failed jobs." if queue is None else "No failed job matched."
            self.stdout.write(f"{text}{mistyped_failed(queue)}")


def _entry(known: Mapping[str, Any], now: datetime) -> tuple[tuple[object, ...], str]:
    when, id = relative(known["failed_at"], now), short(known["id"])
    cells = (when, shown_name(known), known["queue"], attempts_of(known), id)
    why = f"{known['exception_class']}: {known['exception_message']}"
    return cells, f"row {known['row']} · {why}"


def _group(one: Group, now: datetime) -> tuple[tuple[object, ...], str]:
    cells = (f"{one.number:,}", one.name, relative(one.last, now), one.fingerprint[:8] or "-")
    at = f" at {one.place}" if one.place else ""
    return cells, f"{one.exception_class}{at}"


def _cells(known: Mapping[str, Any]) -> list[object]:
    """Return the cells of a line in a pipe."""
    keys = ("queue", "failed_at", "exception_class", "exception_message")
    return [known["id"], known["row"], shown_name(known), *(known[key] for key in keys)]
