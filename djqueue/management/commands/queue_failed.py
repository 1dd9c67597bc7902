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
from djqueue.operations.reports.listing import attempts_of, listed_failed_job, shown_name
from djqueue.operations.words import number_of, relative
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.core.management.base import CommandParser

    from djqueue.models import FailedJob

COLUMNS = ("failed", "name", "queue", "attempts", "id")
PIPED = ("id", "row", "name", "queue", "failed_at", "exception_class", "message")


class Command(QueueCommand):
    help = "List the failed jobs, newest first: when, which, how often it was tried, and why."
    examples = (
        "queue_failed --queue mail --since 1h",
        "queue_failed --name shop.SendReceipt --limit 0 --json",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_failed_filters(parser)
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        selection = failed_selection(options)
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


def _cells(known: Mapping[str, Any]) -> list[object]:
    """Return the cells of a line in a pipe."""
    keys = ("queue", "failed_at", "exception_class", "exception_message")
    return [known["id"], known["row"], shown_name(known), *(known[key] for key in keys)]
