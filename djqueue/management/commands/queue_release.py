from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import Change, State
from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID, add_force
from djqueue.management.output import Progress
from djqueue.management.queue_names import mistyped
from djqueue.operations import changes, results, selection
from djqueue.operations.words import listed, number_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.results import Target


ONLY_STUCK = "A stuck job is one whose worker is gone. --now is for delayed jobs."


class Command(QueueCommand):
    help = (
        "Put stuck jobs back to waiting: reserved ones whose worker is gone. With --now, let "
        "delayed jobs run now."
    )
    examples = (
        "queue_release --stuck --queue mail --dry-run",
        "queue_release 7c1f9e01 --now",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help=AN_ID)
        parser.add_argument("--stuck", action="store_true", help="every stuck job")
        parser.add_argument("--now", action="store_true", help="let delayed jobs run now")
        parser.add_argument(
            "--connection", help="where to look (default: all for ids, the default one for --stuck)"
        )
        parser.add_argument("--queue", help="with --stuck: only this queue")
        add_force(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["ids"]) == options["stuck"]:
            raise self.usage("Give ids, or --stuck.")
        if options["now"] and options["stuck"]:
            raise self.usage("--now is for delayed jobs: give their ids.")
        if options["ids"]:
            chosen = selection.choose(options["ids"], options["connection"])
            self._release(chosen.targets, options)
            self.report_unknown(chosen.unknown, len(chosen.targets))
            return
        found = selection.matching(options["connection"], options["queue"], [State.STUCK])
        targets = selection.targets(found)
        if not targets:
            hint = mistyped(options["connection"], options["queue"])
            raise self.nothing_matched(f"No job is stuck. Nothing was changed.{hint}")
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
        what = Change.RUN_NOW if options["now"] else Change.RELEASE
        with Progress(len(targets)) as progress:
            result = changes.change(what, targets, progress)
        filters = {key: options[key] for key in ("connection", "queue")}
        verb = "run now" if options["now"] else "release"
        self.report(verb, "Released", result, filters, by_id=not ask)
        self.report_left(result, "released", {results.NOT_STUCK: ONLY_STUCK}, by_id=not ask)
