"""The driver that keeps jobs in beanstalkd.

Bodies cannot change there, so attempts, interruptions and history are kept in guard rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
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
from djqueue.drivers.beanstalkd import checks, client, inspection, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.session import Holdings
from djqueue.drivers.beanstalkd.wakeup import WaitingConnection
from djqueue.drivers.guard import Claim, Guard
from djqueue.errors import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

HEADER_ROOM = 1535
"""Bytes of a job that its first line may take."""

LONGEST_PAUSE = timedelta(days=92)
"""How long attempts and large arguments of a job that waits are kept: a tube keeps it for ever."""
MOST_ROUNDS = 50
"""Times in one exchange that nothing but jobs that are over may be reserved."""

_ONE_BY_ONE = "beanstalkd shows only the job that is next; count with queue_status."
_NO_IDS = "beanstalkd knows jobs by numbers of its own and cannot search for an id."


class BeanstalkdDriver(Driver):
    """Jobs are in tubes named as their queues."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "HOST": "127.0.0.1",
        "PORT": 11300,
        "TIMEOUT": 5,
        "BLOCK_FOR": 5,
        "DATABASE": None,
        "MAX_JOB_SIZE": 65535,
        "WINDOW": 100,
    }
    capabilities = Capabilities(
        cannot={
            "ordered": "beanstalkd puts a delayed job to the place that its dispatch had.",
            "peek": _ONE_BY_ONE,
            "remove": _NO_IDS,
            "find": _NO_IDS,
            "idempotent_push": "beanstalkd does not look for a job of the same id.",
        },
        max_wait=LONGEST_PAUSE.total_seconds(),
        max_payload=65535 - HEADER_ROOM,
    )

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        option = self.settings.option
        self._client = self._new_client()
        self._waiting_client = self._new_client()
        self._patience: float | None = None
        self._hold_for = max(1, message.whole_seconds(settings.retry_after))
        alias = option("DATABASE") or every_setting().job_database
        self._guard = Guard(alias, keep=LONGEST_PAUSE)
        self.capabilities = replace(
            self.capabilities, max_payload=option("MAX_JOB_SIZE") - HEADER_ROOM
        )
        self._holdings = Holdings(self._client, self._guard, self._hold_for)

    @property
    def patience(self) -> float | None:
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = self._guard.patience = seconds
        usual = float(self.settings.option("TIMEOUT"))
        for each in (self._client, self._waiting_client):
            each.timeout = usual if seconds is None else min(usual, seconds)

    def _new_client(self) -> Client:
        option = self.settings.option
        return Client(str(option("HOST")), int(option("PORT")), float(option("TIMEOUT")))

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return list(checks.check(settings))

    def warnings(self) -> list[str]:
        return list(checks.remarks(self._client, self.settings))

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        refused: dict[str, str] = {}
        tubes: dict[str, dict[str, bytes]] = defaultdict(dict)
        for job in jobs:
            try:
                tubes[_tube(job.queue)][job.id] = self._put(job)
            except QueueError as error:
                refused[job.id] = str(error)
        stored: set[str] = set()
        trouble = ""
        for tube, commands in tubes.items():
            replies: list[Reply] = []
            try:
                replies = self._client.ask(list(commands.values()), use=tube, into=replies)
            except QueueUnavailable as error:
                stored |= _inserted(commands, replies)
                text = f"{error} {len(stored)} of {len(jobs)} jobs are known to be queued."
                raise QueueUnavailable(
                    text, ambiguous=error.ambiguous, stored=stored, refused=refused
                ) from error
            stored |= _inserted(commands, replies)
            trouble = self._note_refusals(commands, replies, refused) or trouble
        if trouble or refused:
            reason = trouble or next(iter(refused.values()))
            text = f"{reason} {len(stored)} of {len(jobs)} jobs were queued."
            raise QueueUnavailable(text, ambiguous=False, stored=stored, refused=refused)

    def _note_refusals(
        self, ids: Iterable[str], replies: Sequence[Reply], refused: dict[str, str]
    ) -> str:
        """Take note of what is `refused` for good; why others were not stored, or nothing."""
        trouble = ""
        for id, reply in zip(ids, replies, strict=True):
            if reply.word == "JOB_TOO_BIG":
                refused[id] = (
                    f"{self._client} takes smaller jobs only than MAX_JOB_SIZE says: start it with "
                    f"-z {self.settings.option('MAX_JOB_SIZE')}."
                )
            elif reply.word != "INSERTED":
                trouble = f"{self._client} refused to store a job: {reply.word}."
        # Out of memory for its list of waiting jobs: no worker would ever be given these.
        buried = [client.delete(reply.number) for reply in replies if reply.word == "BURIED"]
        if buried:
            self._client.ask(buried)
        return trouble

    def _put(self, job: OutgoingJob) -> bytes:
        hold_for = self._hold_for
        push = job.push_id
        data = message.Body(job.id, job.name, job.priority, job.payload, hold_for, push).bytes
        limit = int(self.settings.option("MAX_JOB_SIZE"))
        if len(data) > limit:
            raise QueueError(
                f"{job.name} {job.id} takes {len(data):,} bytes, and connection "
                f'"{self.settings.name}" at most {limit:,}. Pass a reference to the data in place '
                "of the data, or start beanstalkd with -z and raise MAX_JOB_SIZE."
            )
        return client.put(
            data, message.urgency(job.priority), message.whole_seconds(job.delay), hold_for
        )

    # -- working -------------------------------------------------------------------------------

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        tubes = [_tube(queue) for queue in queues]
        lost, reservations = self._holdings.exchange(settlements, tubes, limit)
        for _ in range(MOST_ROUNDS):  # a worker takes an empty answer for an empty queue
            if reservations or not self._holdings.found_over:
                break
            reservations = self._holdings.exchange((), tubes, limit).reservations
        self._holdings.told()
        return Exchange(lost, reservations)

    def join(self) -> None:
        """What is reserved from now on is lost when the connection closes: silence alone is no
        reason to close it.
        """
        self._client.keep_for = float(self._hold_for)

    def lost_hold(self) -> bool:
        return self._holdings.lost_hold()

    def fence(self, reservation: Reservation) -> int:
        return int(reservation.handle[1])

    @property
    def lease(self) -> float:
        """Jobs bring the time for which they are held from the process that pushed them."""
        return float(self._holdings.shortest)

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """What was cancelled leaves its tube, and its outcome is ignored."""
        cancelled = self._guard.cancelled([each.reservation.id for each in settlements])
        return super().settle(settlements) | cancelled

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        lost = self._holdings.extend(reservations)
        with suppress(QueueUnavailable):  # they are held all the same while the database is away
            lost |= self._guard.cancelled([reservation.id for reservation in reservations])
        return lost

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

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        wait = int(self.settings.option("BLOCK_FOR") or 0)
        (by_id,) = self._client.ask([client.reserve_job(0)])  # no job has that number
        if not wait or by_id.word == "UNKNOWN_COMMAND":
            return None
        tubes = [_tube(queue) for queue in queues]
        self._holdings.waiting = WaitingConnection(self._waiting_client, tubes, wait)
        return self._holdings.waiting

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        return inspection.counts(self._client, _tube(queue))

    def queues(self) -> list[str]:
        return sorted({self.settings.queue, *inspection.tubes_with_jobs(self._client)})

    def make_due(self, queue: str) -> int:
        return inspection.make_due(self._client, _tube(queue))

    def clear(self, queue: str) -> int:
        return inspection.clear(self._client, _tube(queue), self._guard.delete_unheld)

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._guard.cancel(id, unseen=unseen)

    # -- guard rows ----------------------------------------------------------------------------

    def guards(self, alias: str) -> bool:
        return self._guard.alias == alias

    def confirm_end(self, reservation: Reservation, *, over: bool) -> bool:
        return self._guard.confirm_end(Claim(reservation.id, reservation.handle[1]), over=over)

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """The sockets cross a fork; a database connection does not."""
        self._guard.close()

    def after_fork_in_child(self) -> None:
        self._client.forget()
        self._holdings.forget()

    def reset_connection(self, error: QueueUnavailable) -> None:
        """What is held belongs to the socket: it stays open while only the database is away, or
        while the server is only silent. A broken one is closed already.
        """
        if isinstance(error.__cause__, DatabaseError):
            self._guard.close()

    def close(self) -> None:
        self._client.close()


def _inserted(ids: Iterable[str], replies: Sequence[Reply]) -> set[str]:
    """Those whose answers have arrived and say that they are stored."""
    return {id for id, reply in zip(ids, replies, strict=False) if reply.word == "INSERTED"}


def _tube(queue: str) -> str:
    if queue.startswith("-"):
        raise QueueError(
            f'"{queue}" cannot be a queue in beanstalkd, whose names do not begin with a hyphen. '
            "Choose another name."
        )
    return queue
