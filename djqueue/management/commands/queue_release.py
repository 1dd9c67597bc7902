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

    from djqueue.operations.selecting import Place


class Command(QueueCommand):
    help = "Put stuck jobs back to waiting: reserved ones whose worker is gone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID")
        parser.add_argument("--stuck", action="store_true", help="every stuck job")
        parser.add_argument("--connection", help="the default one for --stuck; any for ids")
        parser.add_argument("--queue", help="with --stuck: only this queue")
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["ids"]) == options["stuck"]:
            raise self.usage("Give ids, or --stuck.")
        if options["ids"]:
            chosen = selecting.choose(options["ids"], options["connection"])
            self._release(chosen.places, options)
            self.report_unknown(chosen.unknown, len(chosen.places))
            return
        found = selecting.matching(options["connection"], options["queue"], [State.STUCK])
        places = selecting.places(found)
        if not places:
            raise self.nothing_matched("No job is stuck. Nothing was changed.")
        self._release(places, options, ask=True)

    def _release(self, places: list[Place], options: dict[str, Any], *, ask: bool = False) -> None:
        which = listed([(place.name, place.id) for place in places])
        if options["dry_run"]:
            self.stdout.write(f"{number_of(len(places), 'job')} would be released.\n    {which}")
            return
        if ask:
            self.confirm(f"{which}\nThis releases {number_of(len(places), 'stuck job')}.", options)
        with Progress(len(places)) as progress:
            released = selecting.release(places, on_progress=progress)
        self.audit(
            "release",
            released,
            kept=len(places) - released,
            filters={key: options[key] for key in ("connection", "queue")},
            ids=[place.id for place in places],
        )
        if released == len(places) > 0:
            self.stdout.write(f"Released {number_of(released, 'job')}.\n    {which}")
        elif released or ask:
            self.stdout.write(f"Released {number_of(released, 'job')}.")
        if released < len(places) and not ask:
            left = number_of(len(places) - released, "job")
            raise CommandError(
                f"{left} not released: only stuck jobs are, whose worker is gone. See where a job "
                "stands with queue_show."
            )
