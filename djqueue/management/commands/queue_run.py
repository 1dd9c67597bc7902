from __future__ import annotations

import pdb  # noqa: T100 - what --pdb is for
import traceback
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from djqueue.drivers.base import Change
from djqueue.management.base import QueueCommand
from djqueue.management.options import AN_ID
from djqueue.operations import changes
from djqueue.operations.results import Target
from djqueue.operations.verbs import running
from djqueue.payload.encryption import SHOWN
from djqueue.runner.decision import Action
from djqueue.runner.encrypted.errors import public_error
from djqueue.text.masking import masked_text
from djqueue.text.printable import indented, one_line

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from djqueue.operations.verbs.running import Found, Replayed


class Command(QueueCommand):
    help = (
        "Run one job: a delayed one at once, by the next worker; or a copy of any job, queued or "
        "failed; or any job in this process, which changes nothing that is stored."
    )
    examples = ("queue_run 7c1f9e01 --copy", "queue_run 7c1f9e01 --here --pdb")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help=AN_ID)
        parser.add_argument("--connection", help="look there only (default: every connection)")
        parser.add_argument("--copy", action="store_true", help="dispatch it again, as another job")
        parser.add_argument("--here", action="store_true", help="run it in this process")
        parser.add_argument("--pdb", action="store_true", help="with --here: debug what it raises")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["copy"] and options["here"]:
            raise self.usage("Give --copy or --here, not both.")
        if options["pdb"] and not options["here"]:
            raise self.usage("--pdb is for --here.")
        found = running.find(options["id"], options["connection"])
        if options["copy"]:
            self._copy(found)
        elif options["here"]:
            self._replay(found, debug=options["pdb"])
        else:
            self._run_now(found)

    def _run_now(self, found: Found) -> None:
        if found.failed:
            raise self.usage("A failed job runs again with queue_retry; or give --copy or --here.")
        target = Target(found.connection, found.queue, found.id, found.name)
        result = changes.change(Change.RUN_NOW, [target])
        self.report("run now", "Released", result, {}, by_id=True)
        self.report_left(result, "released", {}, by_id=True)

    def _copy(self, found: Found) -> None:
        sent = running.copy(found)
        self.audit("run a copy", 1, filters={"of": found.id}, ids=[sent.id])
        if sent.existing:
            raise CommandError(f"No copy was queued: the unique job {sent.existing} is there.")
        place = f"{found.connection}:{found.queue}"
        self.stdout.write(f"Dispatched a copy of {found.name} {found.id} to {place}: {sent.id}")

    def _replay(self, found: Found, *, debug: bool) -> None:
        self.remark(f"Running {found.name} {found.id} in this process.")
        done = running.replay(found)
        self.audit("run here", 1, filters={"id": found.id}, ids=[found.id])
        if done.error is not None:
            self._tell(done)
            if debug:
                pdb.post_mortem(done.error.__traceback__)
            raise CommandError(f"{found.name} failed here, too." if found.failed else "It failed.")
        if done.outcome.decision.action is not Action.DONE:
            self.stdout.write(f"It ended as: {done.outcome.ending.value}.")
        else:
            value = SHOWN if done.hides else one_line(masked_text(repr(done.value)))
            shown = "" if done.value is None else f": {value}"
            self.stdout.write(f"Done{shown}.")

    def _tell(self, done: Replayed) -> None:
        assert done.error is not None  # noqa: S101 - that is why it is called
        error = public_error(done.error, hides=done.hides)
        text = "".join(traceback.format_exception(error))
        self.stderr.write(indented(masked_text(text)), str)
