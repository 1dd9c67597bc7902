from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json
from djqueue.operations.reports.workers import workers
from djqueue.operations.words import relative, since, span
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser

    from djqueue.operations.reports.workers import WorkerFacts

COLUMNS = ("worker", "queues", "state", "memory", "version", "started")
PIPED = ("name", "host", "pid", "connection", "queues", "state", "memory", "version", "started_at")


class Command(QueueCommand):
    help = (
        "List the workers: what they read and run, their memory and version, and since when they "
        "run. Lost workers, which do not renew their leases any more, are listed for an hour."
    )
    examples = ("queue_workers", "queue_workers redis --json")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="only this connection (default: all)")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = workers(options["connection"])
        if options["json"]:
            for each in found:
                facts = {**each._asdict(), "running": [job._asdict() for job in each.running]}
                del facts["key"]
                self.json(facts)
        elif not self.stdout.isatty():
            self.rows(PIPED, map(_cells, found))
        elif found:
            now = timezone.now()
            self.entries(COLUMNS, ((_short(each, now), _runs(each, now)) for each in found))
        else:
            self.stdout.write("No worker runs. Start one: python manage.py queue_work")
        versions = sorted({each.version for each in found if each.alive and each.version})
        if len(versions) > 1:
            self.remark(f"Workers run different versions of djqueue: {', '.join(versions)}.")


def _short(each: WorkerFacts, now: datetime) -> tuple[object, ...]:
    queues = f"{each.connection}:{','.join(each.queues)}"
    started = relative(each.started_at, now)
    return each.name, queues, each.state, _megabytes(each.memory), each.version, started


def _runs(each: WorkerFacts, now: datetime) -> str:
    """Return what it runs; of a lost worker, since when it is lost."""
    if not each.alive:
        return f"its lease expired {relative(each.alive_until, now)}"
    shown: Iterator[str] = (
        f"{job.name} {short(job.id)} for {span(since(job.since, now))}" for job in each.running
    )
    return ", ".join(shown)


def _cells(each: WorkerFacts) -> tuple[object, ...]:
    """Return the cells of a line in a pipe."""
    place = (each.name, each.hostname, each.pid, each.connection, ",".join(each.queues))
    return (*place, each.state, each.memory, each.version, each.started_at)


def _megabytes(memory: int | None) -> str:
    return "-" if memory is None else f"{memory >> 20} MB"
