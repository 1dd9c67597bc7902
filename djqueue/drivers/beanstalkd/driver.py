"""The driver that keeps jobs in beanstalkd.

Bodies cannot change there, so attempts, interruptions and history are kept in guard rows; without
them (``GUARD: False``) attempts are counted in the job's urgency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import DatabaseError

from djqueue.conf import settings as every_setting
from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    OutgoingJob,
    QueueCounts,
    Reservation,
    Settlement,
    Wakeup,
)
from djqueue.drivers.beanstalkd import body, checks, client, looking
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.holdings import Holdings
from djqueue.drivers.beanstalkd.ledger import GuardedLedger, PlainLedger
from djqueue.drivers.beanstalkd.wakeup import WaitingConnection
from djqueue.drivers.guard import Guard, Held
from djqueue.errors import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

HEADER_ROOM = 1535
"""Bytes of a job that its first line may take."""

_ONE_BY_ONE = "beanstalkd shows only the job that is next; count with queue_status."
_NO_IDS = "beanstalkd knows jobs by numbers of its own and cannot search for an id."


class BeanstalkdDriver(Driver):
    """Jobs are in tubes named as their queues."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "HOST": "127.0.0.1",
        "PORT": 11300,
        "TIMEOUT": 5,
        "BLOCK_FOR": 5,
        "GUARD": True,
        "DATABASE": None,
        "MAX_JOB_SIZE": 65535,
        "WINDOW": 100,
    }
    EXTRA = ""
    capabilities = Capabilities(
        ordered="beanstalkd puts a delayed or retried job back to the place it had.",
        peek=_ONE_BY_ONE,
        remove=_NO_IDS,
        find=_NO_IDS,
        idempotent_push="beanstalkd does not look for a job of the same id.",
        max_payload=65535 - HEADER_ROOM,
    )

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        option = self.settings.option
        self._client = self._new_client()
        self._hold_for = max(1, body.whole_seconds(settings.retry_after))
        self._guard: Guard | None = None
        self._ledger: GuardedLedger | PlainLedger = PlainLedger()
        fenced: bool | str = "GUARD is off: only the worker's own process knows what it holds."
        if option("GUARD"):
            self._guard = Guard(option("DATABASE") or every_setting().job_database)
            self._ledger = GuardedLedger(self._guard)
            fenced = True
        self.capabilities = replace(
            self.capabilities, fenced=fenced, max_payload=option("MAX_JOB_SIZE") - HEADER_ROOM
        )
        self._holdings = Holdings(self._client, self._ledger, self._hold_for)

    def _new_client(self) -> Client:
        option = self.settings.option
        return Client(str(option("HOST")), int(option("PORT")), float(option("TIMEOUT")))

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return list(checks.check(settings))

    def remarks(self) -> list[str]:
        return list(checks.remarks(self._client, self.settings))

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        tubes: dict[str, list[bytes]] = defaultdict(list)
        for job in jobs:
            tubes[_tube(job.queue)].append(self._put(job))
        stored = 0
        for tube, commands in tubes.items():
            try:
                replies = self._client.ask(commands, use=tube)
            except QueueUnavailable as error:
                error.ambiguous = error.ambiguous or stored > 0
                raise
            refused = [reply for reply in replies if reply.word != "INSERTED"]
            stored += len(replies) - len(refused)
            if refused:
                raise self._refused(refused, stored, len(jobs))

    def _put(self, job: OutgoingJob) -> bytes:
        data = body.encode(job.id, job.name, job.priority, job.payload)
        limit = int(self.settings.option("MAX_JOB_SIZE"))
        if len(data) > limit:
            raise QueueError(
                f"{job.name} {job.id} takes {len(data):,} bytes, and connection "
                f'"{self.settings.name}" at most {limit:,}. Pass a reference to the data in place '
                "of the data, or start beanstalkd with -z and raise MAX_JOB_SIZE. Nothing was "
                "queued."
            )
        delay = body.whole_seconds(job.delay)
        return client.put(data, body.urgency(job.priority), delay, self._hold_for)

    def _refused(self, refused: Sequence[Reply], stored: int, jobs: int) -> QueueError:
        so_far = f"{stored} of {jobs} jobs were queued"
        buried = [client.delete(reply.number) for reply in refused if reply.word == "BURIED"]
        if buried:  # out of memory for its list of waiting jobs: nobody would ever take them
            self._client.ask(buried)
        word = refused[0].word
        if word == "JOB_TOO_BIG":
            return QueueError(
                f"{self._client} takes smaller jobs only than MAX_JOB_SIZE says: start it with "
                f"-z {self.settings.option('MAX_JOB_SIZE')}. {so_far}."
            )
        return QueueUnavailable(
            f"{self._client} refused to store a job: {word}. {so_far}.", ambiguous=stored > 0
        )

    # -- working -------------------------------------------------------------------------------

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        return self._holdings.exchange(settlements, [_tube(queue) for queue in queues], limit)

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        return self._holdings.extend(reservations)

    @property
    def has_orphans(self) -> bool:
        return bool(self._holdings.orphans)

    def recover(self, limit: int) -> list[Reservation]:
        """The server itself gives back what a dead worker held; `exchange` comes upon it."""
        orphans = self._holdings.orphans
        taken, self._holdings.orphans = orphans[:limit], orphans[limit:]
        return taken

    def strays(self, known: Sequence[Reservation]) -> list[Reservation]:
        return self._holdings.strays(known)

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        wait = int(self.settings.option("BLOCK_FOR") or 0)
        (by_id,) = self._client.ask([client.reserve_job(0)])
        if not wait or by_id.word == "UNKNOWN_COMMAND":
            return None
        tubes = [_tube(queue) for queue in queues]
        self._holdings.waiting = WaitingConnection(self._new_client(), tubes, wait)
        return self._holdings.waiting

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        return looking.counts(self._client, _tube(queue))

    def queues(self) -> list[str]:
        return sorted({self.settings.queue, *looking.tubes_with_jobs(self._client)})

    def hasten(self, queue: str) -> int:
        return looking.hasten(self._client, _tube(queue))

    def clear(self, queue: str) -> int:
        return looking.clear(self._client, _tube(queue), self._ledger.cleared)

    # -- guard rows ----------------------------------------------------------------------------

    def guards(self, alias: str) -> bool:
        return self._guard is not None and self._guard.alias == alias

    def mark(self, reservation: Reservation, *, over: bool) -> bool:
        if self._guard is None:
            return super().mark(reservation, over=over)
        return self._guard.mark(Held(reservation.id, reservation.handle[1]), over=over)

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """The sockets cross a fork; a database connection does not."""
        if self._guard is not None:
            self._guard.close()

    def after_fork_in_child(self) -> None:
        self._client.forget()
        self._holdings.forget()

    def broke(self, error: QueueUnavailable) -> None:
        """What is held belongs to the socket: it stays open while only the database is away."""
        if self._guard is not None and isinstance(error.__cause__, DatabaseError):
            self._guard.close()
        else:
            self.close()

    def close(self) -> None:
        self._client.close()


def _tube(queue: str) -> str:
    if queue.startswith("-"):
        raise QueueError(
            f'"{queue}" cannot be a queue in beanstalkd, whose names do not begin with a hyphen. '
            "Choose another name."
        )
    return queue
