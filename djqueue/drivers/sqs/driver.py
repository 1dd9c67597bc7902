"""The driver that keeps jobs in Amazon SQS.

Messages cannot change there, so attempts, interruptions and history are kept in guard rows.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import DatabaseError

from djqueue.conf import settings as every_setting
from djqueue.drivers import parking
from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    OutgoingJob,
    QueueCounts,
    Reservation,
    Settlement,
    StoredJob,
)
from djqueue.drivers.guard import Claim, Guard
from djqueue.drivers.sqs import checks, message, names
from djqueue.drivers.sqs.client import BATCH, Client, QueueRefused
from djqueue.drivers.sqs.pushing import Entry, Sent
from djqueue.drivers.sqs.session import Holdings
from djqueue.errors import ConfigurationError, QueueUnavailable, Unsupported

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

logger = logging.getLogger("djqueue.worker")

LONGEST_DELAY = 900
"""Seconds that SQS itself can delay a message."""
ALIVE = 0.8
"""The part of a lease for which a guard row protects its holder: less than all of it, so that a
message that SQS gives back finds its row free."""

_NOT_SEEN = "SQS shows messages only to those who receive them, and hides them from workers then."


class SqsDriver(Driver):
    """Jobs are messages; a queue is the SQS queue of its name."""

    FLUSH_AFTER = 0.05
    """A request can settle ten jobs, and each is paid for."""
    OPTIONS: ClassVar[dict[str, Any]] = {
        "REGION": None,
        "PREFIX": "",
        "SUFFIX": "",
        "URLS": {},
        "ENDPOINT_URL": None,
        "PROFILE": None,
        "WAIT": 1,
        "DATABASE": None,
        "MAX_MESSAGE_SIZE": 262_144,
        "WINDOW": 10,
    }
    parks = True
    capabilities = Capabilities(
        cannot={
            "ordered": "SQS keeps an order within the groups of a FIFO queue only.",
            "priorities": "SQS has no priorities.",
            "peek": _NOT_SEEN,
            "remove": _NOT_SEEN,
            "find": _NOT_SEEN,
            "exact_counts": "SQS counts approximately.",
            "idempotent_push": "SQS drops a repetition within five minutes, and in FIFO queues"
            " only.",
        },
        max_payload=262_144 - message.ROOM,
    )

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        option = self.settings.option
        self._client = Client(self.settings)
        self._alias: str = option("DATABASE") or every_setting().job_database
        lease = math.ceil(settings.retry_after)
        self._guard = Guard(self._alias, ALIVE * lease)
        self._holdings = Holdings(self._client, self._guard, lease, option("WAIT"), self._park)
        self.capabilities = replace(
            self.capabilities, max_payload=option("MAX_MESSAGE_SIZE") - message.ROOM
        )

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return list(checks.check(settings))

    def warnings(self) -> list[str]:
        return list(checks.remarks(self._client, self.settings.queue))

    @property
    def window(self) -> int:
        return int(self.settings.option("WINDOW"))

    @property
    def patience(self) -> float | None:
        """As `Driver.patience`."""
        return self._client.patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._client.patience = self._guard.patience = seconds

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        by_queue: dict[str, list[OutgoingJob]] = defaultdict(list)
        for job in jobs:
            by_queue[job.queue].append(job)
        sent = Sent()
        entries: dict[str, list[Entry]] = {}
        parked: list[OutgoingJob] = []
        for queue, some in by_queue.items():
            try:
                url = self._client.url(queue)
            except (ConfigurationError, QueueRefused) as error:  # the others can go all the same
                sent.broke(error, away=False)
                continue
            parked += [job for job in some if self._parks(job, url)]
            entries[url] = [self._entry(url, job) for job in some if not self._parks(job, url)]
        self._refuse_large([entry for some in entries.values() for entry in some])
        self._park(parked)
        sent.stored.update(job.id for job in parked)
        for url, ready in entries.items():
            self._client.send(url, ready, self._most_bytes, sent)
        sent.raise_for(self.settings.name, len(jobs))

    def would_park(self, job: OutgoingJob) -> bool:
        return self._parks(job, self._client.url(job.queue))

    def _parks(self, job: OutgoingJob, url: str) -> bool:
        return job.delay > (0 if names.is_fifo(url) else LONGEST_DELAY)

    @property
    def _most_bytes(self) -> int:
        return int(self.settings.option("MAX_MESSAGE_SIZE"))

    def _entry(self, url: str, job: OutgoingJob) -> Entry:
        fields = message.encode(job)
        if names.is_fifo(url):
            fields["MessageGroupId"] = job.message_group or job.queue
            # Names the push: SQS drops what has the id of an earlier message, for five minutes.
            fields["MessageDeduplicationId"] = job.deduplication_id or job.push_name
        elif job.delay > 0:
            fields["DelaySeconds"] = math.ceil(job.delay)
        return Entry(job.id, job.name, fields)

    def _refuse_large(self, entries: Sequence[Entry]) -> None:
        large = [entry for entry in entries if entry.size > self._most_bytes]
        if large:
            reasons = {
                entry.id: f"{entry.name} {entry.id} takes {entry.size:,} bytes, and connection "
                f'"{self.settings.name}" at most {self._most_bytes:,} (MAX_MESSAGE_SIZE; SQS '
                "allows 1,048,576 where the queue's MaximumMessageSize does). Pass a reference to "
                "the data in place of the data."
                for entry in large
            }
            raise QueueUnavailable(
                f"{reasons[large[0].id]} Nothing was queued.", ambiguous=False, refused=reasons
            )

    def _park(self, jobs: Sequence[OutgoingJob], reservation: int = 0) -> None:
        if jobs:
            parking.park(self._alias, self.settings.name, jobs, reservation)

    # -- working -------------------------------------------------------------------------------

    def join(self) -> None:
        for queue in self.worker.queues if self.worker else ():
            if queue != self.settings.queue:  # that one is in the banner
                for remark in checks.remarks(self._client, queue):
                    logger.warning("%s", remark)

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return self._holdings.exchange(settlements, queues, limit)

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        return self._holdings.extend(reservations)

    @property
    def has_orphans(self) -> bool:
        return bool(self._holdings.orphans)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        """The server itself gives back what a dead worker held; `exchange` comes upon it."""
        orphans = self._holdings.orphans
        taken, self._holdings.orphans = orphans[:limit], orphans[limit:]
        return taken

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        return self._holdings.unacknowledged(known)

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        """Approximate, as SQS has them. A retried job that waits counts as reserved there."""
        told = self._client.attributes(self._client.url(queue))
        waiting, reserved, delayed = (
            int(told.get(f"ApproximateNumberOfMessages{what}", 0))
            for what in ("", "NotVisible", "Delayed")
        )
        parked = parking.count(self._alias, self.settings.name, queue)
        return QueueCounts(waiting, delayed + parked, reserved)

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """Parked ones, which are in SQL. `Unsupported` about any other."""
        found = [job for _, job in parking.find(ids, self.settings.name)] if ids else []
        if {job.id for job in found} < set(ids):
            return super().find(ids)
        return found

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        """Parked ones, which are in SQL. `Unsupported` where none of them is."""
        removed = parking.remove(ids, self.settings.name) if ids else 0
        return removed or super().remove(queue, ids, even_running=even_running)

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._guard.cancel(id, unseen=unseen)

    def make_due(self, queue: str) -> int:
        raise Unsupported(
            f'Connection "{self.settings.name}" cannot run delayed jobs before their time: SQS '
            "hides a message until its delay is over. Dispatch them without a delay."
        )

    def clear(self, queue: str) -> int:
        """Delete what can be received, and what is parked. SQS has no way to reach a message that
        it delays, but to purge the queue together with what runs.
        """
        url = self._client.url(queue)
        removed = parking.clear(self._alias, self.settings.name, queue)
        while received := self._client.receive(url, BATCH, 30, 0):
            self._client.delete(url, [each.receipt for each in received])
            removed += len(received)
            self._guard.delete_unheld([each.id for each in received])
        return removed

    # -- guard rows ----------------------------------------------------------------------------

    def guards(self, alias: str) -> bool:
        return self._guard.alias == alias

    def confirm_end(self, reservation: Reservation, *, over: bool) -> bool:
        return self._guard.confirm_end(Claim(reservation.id, reservation.handle[1]), over=over)

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        self._guard.close()

    def after_fork_in_child(self) -> None:
        """Each process makes its own client; a connection of HTTP has no state to lose."""
        self._holdings.forget()

    def reset_connection(self, error: QueueUnavailable) -> None:
        if isinstance(error.__cause__, DatabaseError):
            self._guard.close()
