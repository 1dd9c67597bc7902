from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID, add_json
from djqueue.management.output import moment
from djqueue.operations.describe import show
from djqueue.text.printable import indented, one_line

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Show all about one job, queued or failed: arguments, earlier attempts, traceback."
    examples = ("queue_show 7c1f9e01", "queue_show 7c1f9e01 --connection redis --json")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help=AN_ID)
        parser.add_argument("--connection", help="look there only (default: every connection)")
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
        if key in ("arguments", "context", "options") and isinstance(value, dict):
            self.stdout.write(f"{label}:")
            for name, each in value.items():
                written = json.dumps(each, ensure_ascii=False)
                self.stdout.write(f"    {one_line(name)}: {one_line(written)}")
        elif key == "history":
            self.stdout.write("earlier attempts:")
            for entry in value:
                line = (
                    f"{entry.get('attempt')}  {entry.get('at')}  {entry.get('kind')}  "
                    f"{entry.get('class')}: {entry.get('message')}"
                )
                self.stdout.write(f"    {one_line(line)}")
        elif key == "exception":
            self.stdout.write(f"traceback:\n{indented(value)}")
        elif isinstance(value, datetime):
            self.stdout.write(f"{label}: {moment(value)}")
        else:
            written = ", ".join(map(str, value)) if isinstance(value, list) else value
            self.stdout.write(f"{label}: {one_line(written)}")
