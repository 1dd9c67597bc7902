from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import State
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json, add_limit, limit_of
from djqueue.operations.describe import describe_job, name_for_people
from djqueue.operations.selection import EVERY_STATE, matching

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.drivers.base import StoredJob


class Command(QueueCommand):
    help = "The jobs that a connection holds: those that run first, then as they would run."
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="the default one, if not given")
        parser.add_argument("--queue", help="only this queue")
        parser.add_argument("--state", choices=[state.value for state in State])
        parser.add_argument("--name", help="only this job, by its stored name")
        add_limit(parser)
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        states = [State(options["state"])] if options["state"] else EVERY_STATE
        found = matching(
            options["connection"], options["queue"], states, options["name"], limit_of(options)
        )
        shown = islice(found, options["limit"] or None)
        if options["json"]:
            for each in shown:
                self.json(describe_job(*each))
        else:
            columns = ("id", "name", "queue", "state", "attempts", "available_at")
            self.rows(columns, (_cells(each.job) for each in shown))
        if next(found, None) is not None:
            self.stderr.write(f"These are the first {options['limit']}; --limit 0 shows all.")


def _cells(job: StoredJob) -> list[object]:
    name = name_for_people(job.name, job.payload)
    return [job.id, name, job.queue, job.state, job.attempts, job.available_at]
