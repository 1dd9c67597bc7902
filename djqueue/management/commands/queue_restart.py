from __future__ import annotations

from typing import Any

from djqueue.dispatch import controls
from djqueue.management.base import QueueCommand


class Command(QueueCommand):
    help = "Ask every worker to finish its jobs and stop, so that its supervisor restarts it."
    examples = ("queue_restart", "queue_restart --skip-checks")

    def handle(self, *args: Any, **options: Any) -> None:
        controls.request_restart(by=self.operator())
        self.audit("restart", 1, filters={"workers": "all"})
        self.stdout.write("Every worker stops when the jobs it runs have ended.")
