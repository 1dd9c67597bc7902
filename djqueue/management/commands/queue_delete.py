from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.drivers.base import State
from djqueue.management.base import QueueCommand, listed, number_of
from djqueue.management.options import add_force
from djqueue.management.output import Progress
from djqueue.operations import selecting

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.selecting import Located, Place


class Command(QueueCommand):
    help = (
        "Delete queued jobs: waiting, delayed and stuck ones, and running ones with --even-running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID")
        parser.add_argument("--connection", help="the default one for filters; any for ids")
        parser.add_argument("--queue", help="every job of this queue")
        parser.add_argument("--state", choices=[state.value for state in State])
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
            chosen = selecting.choose(options["ids"], options["connection"])
            self._delete(chosen.places, options)
            self.report_unknown(chosen.unknown, len(chosen.places))
        else:
            self._delete(self._matching(options), options, ask=True)

    def _matching(self, options: dict[str, Any]) -> list[Place]:
        states = [State.WAITING, State.DELAYED, State.STUCK]
        if options["state"]:
            states = [State(options["state"])]
        elif options["even_running"]:
            states.append(State.RESERVED)
        found = selecting.matching(options["connection"], options["queue"], states, options["name"])
        places = selecting.places(found)
        if not places:
            raise self.nothing_matched("No job matched. Nothing was changed.")
        return places

    def _delete(self, places: list[Place], options: dict[str, Any], *, ask: bool = False) -> None:
        which = listed([(place.name, place.id) for place in places])
        if options["dry_run"]:
            self.stdout.write(f"{number_of(len(places), 'job')} would be deleted.\n    {which}")
            return
        if ask:
            self.confirm(f"{which}\nThis deletes {number_of(len(places), 'job')}.", options)
        even_running = options["even_running"]
        with Progress(len(places)) as progress:
            deleted = selecting.delete(places, even_running=even_running, on_progress=progress)
        self.audit(
            "delete",
            deleted,
            kept=len(places) - deleted,
            filters={key: options[key] for key in ("connection", "queue", "state", "name")},
            ids=[place.id for place in places],
        )
        if deleted == len(places) > 0:
            self.stdout.write(f"Deleted {number_of(deleted, 'job')}.\n    {which}")
        elif deleted or not options["ids"]:
            self.stdout.write(f"Deleted {number_of(deleted, 'job')}.")
        if deleted < len(places):
            self._explain(places, len(places) - deleted, by_id=not ask)

    def _explain(self, places: list[Place], left: int, *, by_id: bool) -> None:
        if not by_id:
            self.stderr.write(
                f"{number_of(left, 'job')} had ended or begun meanwhile, and were left alone."
            )
            return
        running = selecting.running(places)
        texts = [
            f"{each.job.id} was not deleted: {_who(each)} is running it. Wait, or use "
            "--even-running: the job goes, the attempt that runs continues, and its outcome is "
            "ignored."
            for each in running
        ]
        if left > len(running):
            texts.append(f"{number_of(left - len(running), 'job')} had ended meanwhile.")
        raise CommandError("\n".join(texts))


def _who(found: Located) -> str:
    return f"worker {found.job.worker}" if found.job.worker else "a worker"
