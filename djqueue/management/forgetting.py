"""What the commands that delete failed jobs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.management.base import QueueCommand
from djqueue.management.output import Progress
from djqueue.operations import audit as auditing
from djqueue.operations import failed_jobs
from djqueue.operations.words import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.operations.failed_jobs import Selection

__all__ = ["ForgetCommand"]


class ForgetCommand(QueueCommand):
    """The base of ``queue_forget``, ``queue_flush`` and ``queue_prune_failed``."""

    verb = "forget"
    """As in the record of who did what."""

    def forget(
        self,
        selection: Selection,
        options: Mapping[str, Any],
        *,
        ask: bool,
        filters: Mapping[str, object],
    ) -> None:
        """Delete the failed jobs of `selection`: with `ask` after a question. `filters` are what
        chose them, for the record.
        """
        count = failed_jobs.count(selection)
        which = failed_jobs.named(selection) if count else ""
        jobs = number_of(count, "failed job")
        if options["dry_run"]:
            self.stdout.write(f"{jobs} would be deleted.{self._named(which)}")
            return
        if count and ask:
            self.confirm(f"{which}\nThis deletes {jobs}.", options)
        ids = failed_jobs.some_ids(selection, auditing.MOST_IDS)
        with Progress(count) as progress:
            forgotten = failed_jobs.forget(selection, progress)
        self.audit(self.verb, forgotten, filters=filters, ids=ids)
        named = self._named(which) if forgotten == count else ""
        self.stdout.write(f"Deleted {number_of(forgotten, 'failed job')}.{named}")

    @staticmethod
    def _named(which: str) -> str:
        return f"\n    {which}" if which else ""
