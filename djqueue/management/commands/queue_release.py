from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Change, State
from djqueue.management.base import QueueCommand
from djqueue.management.options import add_force
from djqueue.management.output import Progress
from djqueue.operations import changes, results, selection
from djqueue.operations.words import listed, number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.results import Target


ONLY_STUCK = "A stuck job is one whose worker is gone."


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
            chosen = selection.choose(options["ids"], options["connection"])
            self._release(chosen.targets, options)
            self.report_unknown(chosen.unknown, len(chosen.targets))
            return
        found = selection.matching(options["connection"], options["queue"], [State.STUCK])
        targets = selection.targets(found)
        if not targets:
            raise self.nothing_matched("No job is stuck. Nothing was changed.")
        self._release(targets, options, ask=True)

    def _release(
        self, targets: list[Target], options: dict[str, Any], *, ask: bool = False
    ) -> None:
        which = listed([(target.name, target.id) for target in targets])
        if options["dry_run"]:
            self.stdout.write(f"{number_of(len(targets), 'job')} would be released.\n    {which}")
            return
        if ask:
            self.confirm(f"{which}\nThis releases {number_of(len(targets), 'stuck job')}.", options)
        with Progress(len(targets)) as progress:
            result = changes.change(Change.RELEASE, targets, progress)
        filters = {key: options[key] for key in ("connection", "queue")}
        self.report("release", "Released", result, filters, by_id=not ask)
        self.report_left(result, "released", {results.NOT_STUCK: ONLY_STUCK}, by_id=not ask)
