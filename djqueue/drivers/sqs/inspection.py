"""What operators ask of SQS, and of the jobs that are parked for it in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from djqueue.drivers import parking
from djqueue.drivers.base import Inspector
from djqueue.drivers.guard import Guard
from djqueue.drivers.sqs import checks
from djqueue.drivers.sqs.client import BATCH, Client
from djqueue.drivers.types import Capabilities, QueueCounts, StoredJob
from djqueue.errors import Unsupported

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

HIDE_FOR = 30
"""Seconds for which a message is hidden that is about to be deleted."""


class SqsInspector(Inspector):
    """Sees numbers of messages, and every parked job."""

    def __init__(
        self, settings: ConnectionSettings, capabilities: Capabilities, client: Client, guard: Guard
    ) -> None:
        super().__init__(settings, capabilities)
        self._client = client
        self._guard = guard

    def counts(self, queue: str) -> QueueCounts:
        """Return approximate numbers, as SQS has them. A retried job that waits counts as reserved
        there.
        """
        attributes = self._client.attributes(self._client.url(queue))
        waiting, reserved, delayed = (
            int(attributes.get(f"ApproximateNumberOfMessages{what}", 0))
            for what in ("", "NotVisible", "Delayed")
        )
        parked = parking.count(self._guard.alias, self.settings.name, queue)
        return QueueCounts(waiting, delayed + parked, reserved)

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """Find parked jobs, which are in SQL. Raises `Unsupported` about any other."""
        found = [job for _, job in parking.find(ids, self.settings.name)] if ids else []
        if {job.id for job in found} < set(ids):
            return super().find(ids)
        return found

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        """Remove parked jobs, which are in SQL. Raises `Unsupported` if none of them is."""
        removed = parking.remove(ids, self.settings.name) if ids else 0
        return removed or super().remove(queue, ids, even_running=even_running)

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._guard.cancel(id, unseen=unseen)

    def make_due(self, queue: str) -> int:
        raise Unsupported(
            f'Connection "{self.settings.name}" cannot run delayed jobs before their time: SQS '
            "hides a message until its delay has passed. Dispatch them without a delay."
        )

    def clear(self, queue: str) -> int:
        """Delete what can be received, and what is parked. SQS has no way to reach a message that
        it delays, except to purge the queue together with what runs.
        """
        url = self._client.url(queue)
        removed = parking.clear(self._guard.alias, self.settings.name, queue)
        while received := self._client.receive(queue, BATCH, HIDE_FOR, 0):
            self._client.delete(url, [each.receipt for each in received])
            removed += len(received)
            self._guard.delete_unheld([each.id for each in received])
        return removed

    def warnings(self) -> list[str]:
        return list(checks.warnings(self._client, self.settings.queue))
