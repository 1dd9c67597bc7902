from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.dispatch.dispatch import dispatch, dispatch_sync
from djqueue.dispatch.route import plan_of
from djqueue.jobs import registry
from djqueue.jobs.definition.spec import spec_of
from djqueue.management import typed
from djqueue.management.base import USAGE, QueueCommand
from djqueue.management.options import add_json, duration
from djqueue.management.queue_names import unknown_queue
from djqueue.operations.reports.registered import RegisteredJob, registered_jobs
from djqueue.payload.encryption import SHOWN

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.jobs.job import Job


class Command(QueueCommand):
    help = (
        "Dispatch a job by its stored name. Each argument is read as its annotation says: a model "
        "is its primary key, a date is in ISO 8601, a list or dict in JSON."
    )
    examples = (
        "queue_dispatch --list",
        "queue_dispatch shop.SendReceipt order=42 --delay 10m",
        """queue_dispatch shop.SendReceipt --args '{"order": 42}' --sync""",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="as in shop.SendReceipt")
        parser.add_argument("arguments", nargs="*", metavar="argument=value")
        # Django keeps options["data"] for itself.
        parser.add_argument(
            "--args", dest="data", help="""all arguments as JSON: '{"order": 42}'"""
        )
        parser.add_argument("--connection", help="(default: the job's own)")
        parser.add_argument("--queue", help="(default: the job's own)")
        parser.add_argument(
            "--delay", type=duration, help="seconds, or 30m, 12h, 7d (default: the job's own)"
        )
        parser.add_argument("--list", action="store_true", help="list the jobs that there are")
        parser.add_argument("--sync", action="store_true", help="run it here, now")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list(options)
            return
        if options["name"] is None:
            raise self.usage("Name a job, or give --list.")
        job = self._job(options)
        given = {name: options[name] for name in ("connection", "queue", "delay")}
        job = job.using(**{name: value for name, value in given.items() if value is not None})
        if options["sync"]:
            value = dispatch_sync(job)
            hides = value is not None and spec_of(job).options.encrypted
            self._write_value(SHOWN if hides else value, options)
            return
        spec = spec_of(job)
        plan = plan_of(spec, job._using)
        if options["queue"]:
            self.remark(unknown_queue(plan.connection, plan.queue))
        dispatched = dispatch(job)
        self.audit(
            "dispatch",
            1,
            filters={"name": spec.name, "queue": plan.queue, "connection": plan.connection},
            ids=[dispatched.id],
        )
        facts = {"id": dispatched.id, "name": spec.name}
        if options["json"]:
            self.json({**facts, "queue": plan.queue, "connection": plan.connection})
        else:
            self.stdout.write(
                f"Dispatched {spec.name} to {plan.connection}:{plan.queue}: {dispatched.id}"
            )

    def _job(self, options: dict[str, Any]) -> Job:
        spec = registry.find(options["name"])
        if options["data"] is not None and options["arguments"]:
            raise self.usage("Give argument=value, or --args with all of them, not both.")
        try:
            if options["data"] is not None:
                return typed.from_json(spec, self._object(options["data"]))
            return typed.from_texts(spec, dict(map(self._pair, options["arguments"])))
        except TypeError as error:
            raise CommandError(str(error), returncode=USAGE) from error

    def _list(self, options: dict[str, Any]) -> None:
        """List the registered jobs; those whose names contain the given one."""
        named = (options["name"] or "").casefold()
        found = [each for each in registered_jobs() if named in each.name.casefold()]
        if options["json"]:
            for each in found:
                self.json(each._asdict())
        elif self.stdout.isatty():
            entries = ((each[:3], f"({each.arguments})  {each.place}") for each in found)
            self.entries(RegisteredJob._fields[:3], entries)
        else:
            self.rows(RegisteredJob._fields, found)

    def _pair(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise self.usage(f'"{text}" is not written as argument=value. Nothing was queued.')
        return name, value

    def _object(self, text: str) -> dict[str, Any]:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.usage(f"--args is not JSON: {error}. Nothing was queued.") from None
        if not isinstance(data, dict):
            raise self.usage("--args is not a JSON object. Nothing was queued.")
        return data

    def _write_value(self, value: Any, options: dict[str, Any]) -> None:
        if options["json"]:
            self.json({"name": options["name"], "value": value})
        else:
            self.stdout.write(f"Done: {value!r}" if value is not None else "Done.")
