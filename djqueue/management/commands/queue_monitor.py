from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.conf import settings
from djqueue.management.base import OVER, QueueCommand, printable_error
from djqueue.management.options import add_json, duration
from djqueue.management.queue_names import unknown_queue
from djqueue.notify import watch
from djqueue.operations.describe import describe_queue
from djqueue.operations.reports.queues.status import monitor
from djqueue.operations.words import number_of, span
from djqueue.text import shell

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.reports.queues.status import Busy


class Command(QueueCommand):
    help = (
        "Exit with 4, and send the signal queue_busy, when a queue holds too many waiting jobs or "
        "one waits too long. For a scheduler such as cron, or a probe."
    )
    examples = (
        "queue_monitor redis:default,database:mail --max 1000 --max-age 5m",
        "queue_monitor mail --max 100 --json",
        "queue_monitor --notify",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "queues", nargs="?", default="", help="as in redis:default,database:mail"
        )
        parser.add_argument(
            "--max", type=int, default=1000, help="alert when this many jobs wait (default: 1000)"
        )
        parser.add_argument(
            "--max-age", type=duration, help="alert when one has waited this long: 300, 5m"
        )
        parser.add_argument(
            "--notify",
            action="store_true",
            help="look for the problems that NOTIFY is about, send what is new, and end with 4 "
            "while there is one",
        )
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["notify"]:
            self._notify(options)
            return
        targets = [each for each in options["queues"].split(",") if each]
        if not targets:
            raise self.usage("Name the queues to look at, as in redis:default,database:mail.")
        found = monitor(targets, options["max"], options["max_age"])
        if options["json"]:
            for each in found:
                self.json({**describe_queue(each.status), "over": list(each.over)})
        else:
            columns = ("queue", "waiting", "delayed", "reserved", "oldest", "status")
            self.rows(columns, map(_row, found))
        for each in found:
            one = each.status
            if not any(one.counts[:3]):
                self.remark(unknown_queue(one.connection, one.queue))
        over = [each for each in found if each.over]
        if over:
            raise CommandError("\n".join(map(_alert, over)), returncode=OVER)

    def _notify(self, options: dict[str, Any]) -> None:
        if not settings().notify.receivers:
            raise self.usage('DJQUEUE["NOTIFY"] is empty: name in it who is to be notified.')
        found = watch.look(elected=True)
        for each in found:
            if options["json"]:
                self.json(each._asdict())
        if found:
            texts = [printable_error(each.text) for each in found]
            raise CommandError("\n".join(texts), returncode=OVER)


def _row(busy: Busy) -> tuple[object, ...]:
    one = busy.status
    return (
        f"{one.connection}:{one.queue}",
        one.counts.waiting,
        one.counts.delayed,
        one.counts.reserved,
        None if one.oldest is None else span(one.oldest),
        "ALERT" if busy.over else "OK",
    )


def _alert(busy: Busy) -> str:
    one = busy.status
    waiting = number_of(one.counts.waiting or 0, "waiting job")
    oldest = "" if one.oldest is None else f", the oldest for {span(one.oldest)}"
    return (
        f"{one.connection}:{one.queue} has {waiting}{oldest}: start more workers with "
        f"{shell.manage('queue_work', one.connection, '--queue', one.queue)}"
    )
