from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.management.base import OVER, QueueCommand, printable_error
from djqueue.management.options import add_json
from djqueue.operations.reports import health

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.reports.health import Check


class Command(QueueCommand):
    help = (
        "Say whether all is well, for probes: exit code 0 if it is, 4 if it is not. With --live: a "
        "worker of this machine is alive. With --ready, the default: tables and stores are "
        "there. With --deep, besides: every queue is read, and no job is stuck."
    )
    examples = ("queue_health --live", "queue_health --deep --json")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="only this connection (default: all)")
        parser.add_argument("--live", action="store_true", help="a worker of this machine is alive")
        parser.add_argument("--ready", action="store_true", help="tables and stores are there")
        parser.add_argument("--deep", action="store_true", help="nothing is wrong with the queues")
        parser.add_argument("--host", help="with --live: another machine (default: this one)")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if sum(options[each] for each in ("live", "ready", "deep")) > 1:
            raise self.usage("Give one of --live, --ready and --deep.")
        if options["live"]:
            checks = health.live(options["connection"], options["host"])
        elif options["deep"]:
            checks = health.deep(options["connection"])
        else:
            checks = health.ready(options["connection"])
        self._tell(checks, json=options["json"])
        wrong = [each for each in checks if not each.ok]
        if wrong:
            texts = [f"{each.name}: {each.text}" for each in wrong]
            raise CommandError("\n".join(map(printable_error, texts)), returncode=OVER)

    def _tell(self, checks: list[Check], *, json: bool) -> None:
        if json:
            ok = all(each.ok for each in checks)
            self.json({"ok": ok, "checks": [each._asdict() for each in checks]})
            return
        for each in checks:
            if each.ok:
                self.stdout.write(f"OK  {each.name}{f': {each.text}' if each.text else ''}")
