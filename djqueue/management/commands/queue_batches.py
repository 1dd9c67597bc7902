from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json, add_limit, limit_of
from djqueue.operations import batches
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

COLUMNS = ("id", "name", "state", "progress", "jobs", "pending", "failed", "created_at")


class Command(QueueCommand):
    help = "The batches, newest first; or one of them: shown, cancelled or closed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", nargs="?", metavar="ID", help="one batch")
        parser.add_argument(
            "--cancel", action="store_true", help="end its waiting members without running them"
        )
        parser.add_argument(
            "--close", action="store_true", help="take no more members: its dispatcher is gone"
        )
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["id"] is None:
            if options["cancel"] or options["close"]:
                raise self.usage("Say which batch: --cancel and --close take its id.")
            self._list(options)
            return
        batch = batches.find(options["id"])
        if options["cancel"]:
            self._done("cancel", "Cancelled", batch.pk, changed=batch.cancel())
        elif options["close"]:
            self._done("close", "Closed", batch.pk, changed=batches.close(batch.pk))
        else:
            self._show(batches.describe(batch), options)

    def _list(self, options: dict[str, Any]) -> None:
        found = batches.listed(limit_of(options))
        shown = islice(found, options["limit"] or None)
        described = map(batches.describe, shown)
        if options["json"]:
            for each in described:
                self.json(each)
        else:
            self.rows(COLUMNS, ([each[name] for name in COLUMNS] for each in described))
        if next(found, None) is not None:
            self.stderr.write(f"These are the newest {options['limit']}; --limit 0 shows all.")

    def _show(self, described: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self.json(described)
        else:
            self.rows(("", ""), described.items())

    def _done(self, verb: str, done: str, id: str, *, changed: bool) -> None:
        if changed:
            self.audit(f"{verb} batch", 1, ids=[id])
            self.stdout.write(f"{done} {number_of(1, 'batch')}.\n    {id}")
        else:
            self.stderr.write(f"Batch {id} was finished, or {done.lower()} before.")
