from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import (
    add_failed_filters,
    add_json,
    add_limit,
    failed_selection,
    limit_of,
)
from djqueue.operations import failed_jobs
from djqueue.operations.describe import describe_failed_job, name_for_people
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "The failed jobs, newest first."
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
                self.json(describe_failed_job(row))
        else:
            columns = ("id", "row", "name", "queue", "failed_at", "exception_class", "message")
            self.rows(columns, map(_cells, shown))
        if next(found, None) is not None:
            total = number_of(failed_jobs.count(selection), "failed job")
            self.stderr.write(f"These are {options['limit']} of {total}; --limit 0 shows all.")


def _cells(row: Any) -> list[object]:
    """Return the cells of a row that `failed_jobs.listed` returned."""
    known = describe_failed_job(row)
    before = (known["id"], known["row"], name_for_people(row.name, row.payload_begin))
    keys = ("queue", "failed_at", "exception_class", "exception_message")
    return [*before, *(known[key] for key in keys)]
