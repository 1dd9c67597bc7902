from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import State
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json, add_limit, add_state, limit_of
from djqueue.management.queue_names import mistyped
from djqueue.operations.reports.finished import done_job, finished
from djqueue.operations.reports.listing import (
    arguments_line,
    attempts_of,
    listed_job,
    shown_name,
)
from djqueue.operations.selection import EVERY_STATE, Listed, matching
from djqueue.operations.words import relative, span
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.core.management.base import CommandParser

    from djqueue.models import FinishedJob

COLUMNS = ("when", "name", "queue", "state", "attempts", "id")
COLUMNS_DONE = ("done", "name", "queue", "took", "attempts", "id")
PIPED_DONE = ("id", "name", "queue", "connection", "attempts", "duration", "finished_at")
PIPED = ("id", "name", "queue", "state", "attempts", "available_at")


class Command(QueueCommand):
    help = (
        "List the jobs that a connection holds: those that run first, then in the order in which "
        "they would run. With --done: those that were done a short while ago, the newest first, if "
        'the setting "KEEP_DONE" keeps them.'
    )
    examples = (
        "queue_jobs --queue mail --state delayed",
        "queue_jobs redis --limit 0 --json",
        "queue_jobs --done --name shop.SendReceipt",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="(default: the default connection)")
        parser.add_argument("--queue", help="only this queue")
        add_state(parser, "only jobs in this state")
        parser.add_argument("--done", action="store_true", help="jobs that were done lately")
        parser.add_argument("--name", help="only this job, by its stored name")
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["done"]:
            self._list_done(options)
            return
        states = [State(options["state"])] if options["state"] else EVERY_STATE
        found = matching(
            options["connection"], options["queue"], states, options["name"], limit_of(options)
        )
        shown = islice(found, options["limit"] or None)
        if options["json"]:
            for each in shown:
                self.json(listed_job(*each))
        elif self.stdout.isatty():
            self._write(shown, options)
        else:
            self.rows(PIPED, (_cells(listed_job(*each)) for each in shown))
        if next(found, None) is not None:
            self.remark(f"These are the first {options['limit']}; --limit 0 shows all.")

    def _list_done(self, options: Mapping[str, Any]) -> None:
        if options["state"]:
            raise self.usage("Give --done or --state: a job that is done is in no state.")
        connection = queues[options["connection"]]
        kept = finished(connection.members, options["queue"], options["name"])
        rows = list(kept[: limit_of(options)])
        shown = rows[: options["limit"] or None]
        if options["json"]:
            for row in shown:
                self.json(done_job(row))
        elif not self.stdout.isatty():
            self.rows(PIPED_DONE, (list(done_job(row).values()) for row in shown))
        elif shown:
            now = timezone.now()
            self.rows(COLUMNS_DONE, (_done_cells(row, now) for row in shown))
        elif settings().keep_done:
            self.stdout.write("No job matched.")
        else:
            self.stdout.write('Jobs that are done are not kept: DJQUEUE["KEEP_DONE"] is not set.')
        if len(rows) > len(shown):
            self.remark(f"These are the first {options['limit']}; --limit 0 shows all.")

    def _write(self, found: Iterable[Listed], options: Mapping[str, Any]) -> None:
        jobs = list(found)
        now = timezone.now()
        if jobs:
            self.entries(COLUMNS, (_entry(listed_job(*each), now) for each in jobs))
            return
        filtered = options["queue"] or options["state"] or options["name"]
        text = "No job matched." if filtered else "No jobs."
        self.stdout.write(f"{text}{mistyped(options['connection'], options['queue'])}")


def _entry(known: Mapping[str, Any], now: datetime) -> tuple[tuple[object, ...], str]:
    moment = known["reserved_at"] or known["available_at"]
    when = "-" if moment is None else relative(moment, now)
    name, attempts = shown_name(known), attempts_of(known)
    cells = (when, name, known["queue"], known["state"], attempts, short(known["id"]))
    worker = f"worker {known['worker']}" if known["worker"] else ""
    parts = (worker, known["last_error"], arguments_line(known["arguments"]))
    return cells, " · ".join(filter(None, parts))


def _cells(known: Mapping[str, Any]) -> list[object]:
    """Return the cells of a line in a pipe."""
    keys = ("queue", "state", "attempts", "available_at")
    return [known["id"], shown_name(known), *(known[key] for key in keys)]


def _done_cells(row: FinishedJob, now: datetime) -> tuple[object, ...]:
    ago = relative(row.finished_at, now)
    return ago, row.name, row.queue, span(row.duration), row.attempts, short(row.uuid)
