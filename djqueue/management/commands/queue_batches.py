from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID, add_json, add_limit, limit_of
from djqueue.operations import batches
from djqueue.operations.words import number_of, relative
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.management.base import CommandParser

COLUMNS = ("id", "name", "state", "progress", "jobs", "pending", "failed", "created_at")


SHORT = ("created", "name", "state", "progress", "pending", "failed", "id")


class Command(QueueCommand):
    help = "List the batches, newest first; or show, cancel or close one of them."
    examples = (
        "queue_batches --limit 10",
        "queue_batches 8c5aec13 --cancel",
        "queue_batches 8c5aec13 --close",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", nargs="?", metavar="ID", help=f"one batch: {AN_ID}")
        parser.add_argument(
            "--cancel", action="store_true", help="end its waiting members without running them"
        )
        parser.add_argument(
            "--close",
            action="store_true",
            help="let it take no more members, since its dispatcher is gone: it finishes when "
            "those that are in have ended. After an hour a worker closes and cancels such a batch",
        )
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["cancel"] and options["close"]:
            raise self.usage("Give one of --cancel and --close.")
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
        elif self.stdout.isatty():
            now = timezone.now()
            self.rows(SHORT, (_short(each, now) for each in described))
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


def _short(described: dict[str, Any], now: datetime) -> list[object]:
    """Return the cells of a line on a terminal."""
    created, progress = described["created_at"], f"{described['progress']} %"
    when = "-" if created is None else relative(created, now)
    middle = [described[name] for name in ("pending", "failed")]
    return [when, described["name"], described["state"], progress, *middle, short(described["id"])]
