from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.base import CommandError

from djqueue.management.base import QueueCommand
from djqueue.management.scaffold import ScaffoldError, write_job

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Write a new job into an app's jobs.py. Existing code is not changed."
    examples = ("make_job shop SendReceipt", "make_job shop send_receipt --function")
    changes = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("app", help="the label of an installed app")
        parser.add_argument("name", help="as in SendReceipt, or send_receipt with --function")
        parser.add_argument("--function", action="store_true", help="a function with @job")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            config = apps.get_app_config(options["app"])
        except LookupError as error:
            raise CommandError(str(error)) from None
        if not options["name"].isidentifier():
            raise self.usage(f'"{options["name"]}" is not a name that Python accepts.')
        try:
            made = write_job(config, options["name"], function=options["function"])
        except ScaffoldError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Wrote {made.name} into {made.path}. Queue it with: {made.call}")
