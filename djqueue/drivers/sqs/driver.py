"""The driver that keeps jobs in Amazon SQS.

Messages cannot change there, so attempts, interruptions and history are kept in guard rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from djqueue.conf.kinds import (
    ALIAS,
    ANY_TEXT,
    DICT,
    WINDOW,
    Option,
    choice,
    named,
    or_none,
    whole,
)
from djqueue.drivers import parking
from djqueue.drivers.guard.driver import GuardedDriver
from djqueue.drivers.sqs import checks, message
from djqueue.drivers.sqs.client import Client, QueueRefused, is_fifo
from djqueue.drivers.sqs.inspection import SqsInspector
from djqueue.drivers.sqs.pushing import Entry, Sent
from djqueue.drivers.sqs.session import SqsSession
from djqueue.drivers.types import Capabilities, OutgoingJob
from djqueue.errors import ConfigurationError, QueueUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

LONGEST_DELAY = 900
"""Seconds that SQS itself can delay a message."""
ALIVE = 0.8
"""The part of a lease for which a guard row protects its holder: less than all of it, so that a
message that SQS gives back finds its row free."""

_NOT_SEEN = "SQS shows messages only to those who receive them, and hides them from workers then."


class SqsDriver(GuardedDriver):
    """Jobs are messages; a queue is the SQS queue of its name."""

    FLUSH_AFTER = 0.05
    """A request can settle ten jobs, and each is paid for."""
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "REGION": Option(None, or_none(named("a region, such as ap-northeast-1"))),
        "PREFIX": Option("", ANY_TEXT),
        "SUFFIX": Option("", ANY_TEXT),
        "URLS": Option({}, DICT),
        "ENDPOINT_URL": Option(None, or_none(named("a URL"))),
        "PROFILE": Option(None, or_none(named("the name of a profile in ~/.aws"))),
        "WAIT": Option(1, choice(0, 1)),
        "DATABASE": Option(None, or_none(ALIAS)),
        "MAX_MESSAGE_SIZE": Option(262_144, whole(4096, checks.LARGEST, of="bytes")),
        "WINDOW": Option(10, WINDOW),
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
        lease = math.ceil(settings.retry_after)
        super().__init__(settings, ALIVE * lease)
        option = self.settings.option
        self._client = Client(self.settings)
        self.capabilities = replace(
            self.capabilities, max_payload=option("MAX_MESSAGE_SIZE") - message.ROOM
        )
        wait = int(option("WAIT"))
        self._session = SqsSession(self._client, self._guard, lease, wait, self._park)
        self._inspector = SqsInspector(self.settings, self.capabilities, self._client, self._guard)

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return list(checks.check(settings))

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
        return job.delay > (0 if is_fifo(url) else LONGEST_DELAY)

    @property
    def _most_bytes(self) -> int:
        return int(self.settings.option("MAX_MESSAGE_SIZE"))

    def _entry(self, url: str, job: OutgoingJob) -> Entry:
        fields = message.encode(job)
        if is_fifo(url):
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
            parking.park(self._guard.alias, self.settings.name, jobs, reservation)
