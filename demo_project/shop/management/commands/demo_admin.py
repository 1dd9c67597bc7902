from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo_project.shop.management.commands.demo import relative
from demo_project.shop.night import Night


class Command(BaseCommand):
    help = "Fill the admin with jobs in every state that an operator may meet."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        self.stdout.write(self.style.MIGRATE_HEADING("== A bad night of the shop"))
        Night(self.stdout.write).fall()
        self.stdout.write("")
        self.stdout.write(
            "The admin is at http://127.0.0.1:8000/admin/ (user demo, password demo):"
        )
        folder = os.environ.get("DEMO_FOLDER")
        where = f"DEMO_FOLDER={shlex.quote(folder)} " if folder else ""
        manage = f"{where}{relative(Path(sys.executable))} manage.py"
        self.stdout.write(f"    {manage} runserver")
        self.stdout.write("Where jobs are to run, start beside it:")
        self.stdout.write(f"    {manage} queue_work")
