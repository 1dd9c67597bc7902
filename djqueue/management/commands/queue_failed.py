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
from djqueue.operations.describe import describe_failed_job
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
        objects = map(describe_failed_job, islice(found, options["limit"] or None))
        if options["json"]:
            for each in objects:
                self.json(each)
        else:
            columns = ("id", "row", "name", "queue", "failed_at", "exception_class")
            shown_as = (*columns, "message")
            self.rows(
                shown_as,
                ([*(each[key] for key in columns), each["exception_message"]] for each in objects),
            )
        if next(found, None) is not None:
            total = number_of(failed_jobs.count(selection), "failed job")
            self.stderr.write(f"These are {options['limit']} of {total}; --limit 0 shows all.")
