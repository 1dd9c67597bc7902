from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import State
from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID, add_force, add_state
from djqueue.management.output import Progress
from djqueue.management.queue_names import mistyped
from djqueue.operations import changes, results, selection
from djqueue.operations.words import listed, number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.results import Target


USE_EVEN_RUNNING = (
    "Wait, or use --even-running: the job goes, the attempt that runs continues, and its outcome "
    "is ignored."
)


class Command(QueueCommand):
    help = (
        "Delete queued jobs: waiting, delayed and stuck ones; with --even-running also running "
        "ones. Ids act at once; filters ask first."
    )
    examples = ("queue_delete 7c1f9e01", "queue_delete --queue mail --state stuck --dry-run")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help=AN_ID)
        parser.add_argument(
            "--connection", help="where to look (default: all for ids, the default one for filters)"
        )
        parser.add_argument("--queue", help="every job of this queue")
        add_state(parser, "every job in this state")
        parser.add_argument("--name", help="every job of this stored name")
        parser.add_argument(
            "--even-running",
            action="store_true",
            help="running ones too: their attempt goes on, and its outcome is ignored",
        )
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        filters = [options[key] for key in ("queue", "state", "name")]
        if bool(options["ids"]) == any(filters):
            raise self.usage("Give ids, or one of --queue, --state and --name.")
        if options["state"] == "reserved" and not options["even_running"]:
            raise self.usage("Reserved jobs run at this moment: add --even-running.")
        if options["ids"]:
            found = selection.choose(options["ids"], options["connection"])
            self._delete(found.targets, options)
            self.report_unknown(found.unknown, len(found.targets))
        else:
            self._delete(self._matching(options), options, ask=True)

    def _matching(self, options: dict[str, Any]) -> list[Target]:
        states = [State.WAITING, State.DELAYED, State.STUCK]
        if options["state"]:
            states = [State(options["state"])]
        elif options["even_running"]:
            states.append(State.RESERVED)
        found = selection.matching(options["connection"], options["queue"], states, options["name"])
        with Progress() as progress:
            targets = selection.targets(progress.counted(found))
        if not targets:
            hint = mistyped(options["connection"], options["queue"])
            raise self.nothing_matched(f"No job matched. Nothing was changed.{hint}")
        return targets

    def _delete(self, targets: list[Target], options: dict[str, Any], *, ask: bool = False) -> None:
        which = listed([(target.name, target.id) for target in targets])
        if options["dry_run"]:
            self.stdout.write(f"{number_of(len(targets), 'job')} would be deleted.\n    {which}")
            return
        if ask:
            self.confirm(f"{which}\nThis deletes {number_of(len(targets), 'job')}.", options)
        even_running = options["even_running"]
        with Progress(len(targets)) as progress:
            result = changes.delete(targets, even_running=even_running, on_progress=progress)
        filters = {key: options[key] for key in ("connection", "queue", "state", "name")}
        self.report("delete", "Deleted", result, filters, by_id=not ask)
        self.report_left(result, "deleted", {results.RUNNING: USE_EVEN_RUNNING}, by_id=not ask)
