from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.dispatch.unique.held import held, unlock
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_json
from djqueue.text.short_ids import short

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(QueueCommand):
    help = "Free the unique key of a job, or list the keys that jobs have."
    examples = ("queue_unlock", "queue_unlock shop.Reindex:seoul")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", nargs="?", help="without it, the keys are listed")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["key"] is None:
            self._list(json=options["json"])
        else:
            self._unlock(options["key"])

    def _list(self, *, json: bool) -> None:
        found = sorted(held())
        if json:
            for each in found:
                self.json(each._asdict())
            return
        if self.stdout.isatty():
            found = [each._replace(job=short(each.job)) for each in found]
        self.rows(("key", "job", "connection", "queue"), found)

    def _unlock(self, key: str) -> None:
        freed = [each for each in held(key) if unlock(each)]
        self.audit(
            "unlock", len(freed), filters={"unique_key": key}, ids=[each.job for each in freed]
        )
        if not freed:
            raise self.nothing_matched(f'No job has the unique key "{key}".')
        for each in freed:
            self.stdout.write(
                f'Freed "{key}", which job {each.job} had on {each.connection}:{each.queue}. That'
                " job is not changed."
            )
