from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from djqueue.bus.showing import show
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json
from djqueue.management.output import moment

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "All about one job, queued or failed: arguments, earlier attempts, traceback."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the dispatch's uuid, or enough of its beginning or end")
        parser.add_argument("--connection", help="look there only")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = show(options["id"], options["connection"])
        if options["json"]:
            self.json(found)
            return
        for key, value in found.items():
            if value not in (None, "", [], {}):
                self._write(key, value)

    def _write(self, key: str, value: Any) -> None:
        label = key.replace("_", " ")
        if key in ("arguments", "options"):
            self.stdout.write(f"{label}:")
            for name, each in value.items():
                self.stdout.write(f"    {name}: {json.dumps(each, ensure_ascii=False)}")
        elif key == "history":
            self.stdout.write("earlier attempts:")
            for entry in value:
                self.stdout.write(
                    f"    {entry.get('attempt')}  {entry.get('at')}  {entry.get('kind')}  "
                    f"{entry.get('class')}: {entry.get('message')}"
                )
        elif key == "exception":
            self.stdout.write(f"traceback:\n{value}")
        elif isinstance(value, datetime):
            self.stdout.write(f"{label}: {moment(value)}")
        else:
            self.stdout.write(f"{label}: {', '.join(value) if isinstance(value, list) else value}")
