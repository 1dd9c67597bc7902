from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.dispatch import controls
from djqueue.management.base import QueueCommand
from djqueue.operations.reports.workers import workers

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Ask workers to finish their jobs and stop, so that their supervisors restart them."
    examples = ("queue_restart", "queue_restart web-1:4211")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "workers", nargs="*", metavar="NAME", help="only these, as queue_workers names them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = dict.fromkeys(options["workers"])
        if not names:
            controls.request_restart(by=self.operator())
            self.audit("restart", 1, filters={"workers": "all"})
            self.stdout.write("Every worker stops when the jobs it runs have ended.")
            return
        alive = [each for each in workers() if each.alive and each.name in names]
        missing = [name for name in names if name not in {each.name for each in alive}]
        if missing:
            raise self.usage(f"No worker is called {', '.join(missing)}. Look at queue_workers.")
        for each in alive:
            controls.request_end(each.key, self.operator())
        self.audit("restart", len(alive), filters={"workers": ", ".join(names)})
        self.stdout.write(f"{', '.join(names)}: stops when the jobs it runs have ended.")
