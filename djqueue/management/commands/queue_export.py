from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import State
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_failed_filters, add_state, failed_selection
from djqueue.management.output import Progress
from djqueue.operations import failed_jobs
from djqueue.operations.reports import exporting
from djqueue.operations.selection import EVERY_STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = (
        "Write jobs with all that is known of them, one JSON object a line: arguments, options, "
        "earlier attempts, tracebacks. Secrets in them are masked."
    )
    examples = (
        "queue_export failed --since 1d --json",
        "queue_export jobs --connection redis --state delayed --json",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "what", choices=["failed", "jobs"], help="failed jobs, or jobs in a store"
        )
        add_failed_filters(parser)
        parser.add_argument(
            "--connection", help="with jobs: where to look (default: the default connection)"
        )
        add_state(parser, "with jobs: only those in this state")
        parser.add_argument(
            "--json", action="store_true", help="one JSON object a line: the only format"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_failed = options["what"] == "failed"
        if is_failed and (options["state"] or options["connection"]):
            raise self.usage("--state and --connection are for jobs.")
        if not is_failed and options["since"]:
            raise self.usage("--since is for failed jobs.")
        total = failed_jobs.count(failed_selection(options)) if is_failed else None
        with Progress(total) as progress:
            for each in progress.counted(self._found(options, is_failed=is_failed)):
                self.json(each)

    def _found(self, options: Mapping[str, Any], *, is_failed: bool) -> Iterator[dict[str, Any]]:
        if is_failed:
            return exporting.failed(failed_selection(options))
        states = [State(options["state"])] if options["state"] else EVERY_STATE
        return exporting.jobs(options["connection"], options["queue"], states, options["name"])
