"""The driver that keeps jobs in beanstalkd.

Bodies cannot change there, so attempts, interruptions and history are kept in guard rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from djqueue.conf.kinds import ALIAS, DURATION, WINDOW, Option, named, or_none, whole
from djqueue.drivers.beanstalkd import checks
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.inspection import BeanstalkdInspector
from djqueue.drivers.beanstalkd.message import encode, put, tube, whole_seconds
from djqueue.drivers.beanstalkd.session import BeanstalkdSession
from djqueue.drivers.beanstalkd.settling import delete_buried
from djqueue.drivers.guard.driver import GuardedDriver
from djqueue.drivers.types import Capabilities, OutgoingJob
from djqueue.errors import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

HEADER_ROOM = 1535
"""Bytes of a job that its first line may take."""

LONGEST_PAUSE = timedelta(days=92)
"""How long attempts and large arguments of a job that waits are kept: a tube keeps it for ever."""

_ONE_BY_ONE = "beanstalkd shows only the job that is next; count with queue_status."
_NO_IDS = "beanstalkd knows jobs by numbers of its own and cannot search for an id."


class BeanstalkdDriver(GuardedDriver):
    """Jobs are in tubes named as their queues."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "HOST": Option("127.0.0.1", named("a host name or address")),
        "PORT": Option(11300, whole(1, 65535)),
        "TIMEOUT": Option(5, DURATION),
        "BLOCK_FOR": Option(5, or_none(whole(0, of="seconds"))),
        "DATABASE": Option(None, or_none(ALIAS)),
        "MAX_JOB_SIZE": Option(65535, whole(1, of="bytes")),
        "WINDOW": Option(100, WINDOW),
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
        super().__init__(settings, keep=LONGEST_PAUSE)
        option = self.settings.option
        self._patience: float | None = None
        self._hold_for = max(1, whole_seconds(settings.retry_after))
        self._client = self._new_client()
        self._waiting_client = self._new_client()
        self.capabilities = replace(
            self.capabilities, max_payload=option("MAX_JOB_SIZE") - HEADER_ROOM
        )
        self._session = BeanstalkdSession(
            self._client,
            self._waiting_client,
            self._guard,
            hold_for=self._hold_for,
            block_for=int(option("BLOCK_FOR") or 0),
        )
        self._inspector = BeanstalkdInspector(
            self.settings, self.capabilities, self._client, self._guard
        )

    def _new_client(self) -> Client:
        option = self.settings.option
        return Client(str(option("HOST")), int(option("PORT")), float(option("TIMEOUT")))

    @property
    def patience(self) -> float | None:
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = self._guard.patience = seconds
        usual = float(self.settings.option("TIMEOUT"))
        for each in (self._client, self._waiting_client):
            each.timeout = usual if seconds is None else min(usual, seconds)

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        return list(checks.check(settings))

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        refused: dict[str, str] = {}
        tubes: dict[str, dict[str, bytes]] = defaultdict(dict)
        for job in jobs:
            try:
                tubes[tube(job.queue)][job.id] = self._put(job)
            except QueueError as error:
                refused[job.id] = str(error)
        stored: set[str] = set()
        trouble = ""
        for name, commands in tubes.items():
            replies: list[Reply] = []
            try:
                replies = self._client.ask(list(commands.values()), use=name, into=replies)
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
        """Add to `refused` what the server will never take. Return why others were not stored, or
        an empty text.
        """
        trouble = ""
        for id, reply in zip(ids, replies, strict=True):
            if reply.word == "JOB_TOO_BIG":
                refused[id] = (
                    f"{self._client} takes smaller jobs only than MAX_JOB_SIZE says: start it with "
                    f"-z {self.settings.option('MAX_JOB_SIZE')}."
                )
            elif reply.word != "INSERTED":
                trouble = f"{self._client} refused to store a job: {reply.word}."
        delete_buried(self._client, replies)
        return trouble

    def _put(self, job: OutgoingJob) -> bytes:
        data = encode(job, self._hold_for)
        limit = int(self.settings.option("MAX_JOB_SIZE"))
        if len(data) > limit:
            raise QueueError(
                f"{job.name} {job.id} takes {len(data):,} bytes, and connection "
                f'"{self.settings.name}" at most {limit:,}. Pass a reference to the data in place '
                "of the data, or start beanstalkd with -z and raise MAX_JOB_SIZE."
            )
        return put(job, data, self._hold_for)

    def close(self) -> None:
        self._client.close()


def _inserted(ids: Iterable[str], replies: Sequence[Reply]) -> set[str]:
    """Return the jobs whose answers have arrived and say that they are stored."""
    return {id for id, reply in zip(ids, replies, strict=False) if reply.word == "INSERTED"}
