from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.forgetting import ForgetCommand
from djqueue.management.options import AN_ID, add_failed_filters, add_force, failed_selection
from djqueue.management.queue_names import mistyped_failed
from djqueue.operations import failed_jobs
from djqueue.operations.failed_jobs import ALL

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ForgetCommand):
    help = (
        "Delete failed jobs. They cannot be retried after that. Ids act at once; filters ask first."
    )
    examples = (
        "queue_forget 7c1f9e01",
        "queue_forget --name shop.SendReceipt --since 1h --dry-run",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help=AN_ID)
        add_failed_filters(parser, rows=True)
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        filters = failed_selection(options)
        if bool(options["ids"]) == (filters != ALL):
            raise self.usage("Give ids, or filters such as --queue; queue_flush deletes them all.")
        if options["ids"]:
            found = failed_jobs.resolve(options["ids"])
            known = len(found.selection.ids or ())
            if known:
                self.forget(found.selection, options, ask=False, filters={})
            self.report_unknown(found.unknown, known)
            return
        if not failed_jobs.count(filters):
            hint = mistyped_failed(options["queue"])
            raise self.nothing_matched(f"No failed job matched. Nothing was changed.{hint}")
        self.forget(filters, options, ask=True, filters=filters.described())
