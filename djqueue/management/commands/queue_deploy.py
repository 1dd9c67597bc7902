from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

from djqueue.dispatch.connections import queues
from djqueue.management.base import QueueCommand
from djqueue.management.units.deployment import Deployment
from djqueue.management.units.printing import UNITS

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = (
        "Print a unit that runs workers, to be saved and adapted: how many, how they are stopped, "
        "their memory, and how to ask whether they are well. It changes nothing."
    )
    examples = (
        "queue_deploy systemd --workers 4",
        "queue_deploy supervisor --workers 2 --processes 2",
    )
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=sorted(UNITS), help="what is to run the workers")
        parser.add_argument("connection", nargs="?", help="the connection (default: the default)")
        parser.add_argument("--queue", help="queues, best first (default: the connection's)")
        parser.add_argument(
            "--workers", type=int, default=4, help="children of a worker (default: 4)"
        )
        parser.add_argument("--processes", type=int, default=1, help="workers (default: 1)")
        parser.add_argument("--memory", type=int, default=500, help="MB of a child (default: 500)")
        parser.add_argument(
            "--grace",
            type=int,
            default=30,
            help="seconds in which running jobs may end (default: 30)",
        )
        parser.add_argument(
            "--name", help="the name of the units (default: the project's directory)"
        )
        parser.add_argument("--user", default="www-data", help="who runs them (default: www-data)")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("workers", "processes", "memory", "grace"):
            if options[name] < 1:
                raise self.usage(f"--{name} must be 1 or more.")
        asked = queues[options["connection"]]
        names = options["queue"] or asked.settings.queue
        for each in names.split(","):
            asked.check(each)
        directory = Path(getattr(django_settings, "BASE_DIR", None) or Path.cwd())
        name = re.sub(r"[^a-z0-9-]+", "-", (options["name"] or directory.name).lower()).strip("-")
        it = Deployment(
            name=name or "site",
            directory=str(directory),
            python=sys.executable,
            settings=os.environ.get("DJANGO_SETTINGS_MODULE", ""),
            user=options["user"],
            connection=asked.name,
            queues=names,
            workers=options["workers"],
            processes=options["processes"],
            memory=options["memory"],
            grace=options["grace"],
            lease=asked.driver.lease,
        )
        self.stdout.write(UNITS[options["kind"]](it), ending="")
