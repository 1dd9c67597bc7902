"""What operators ask of beanstalkd. It shows the next jobs of a tube, and any job by its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from djqueue.drivers.base import Inspector
from djqueue.drivers.beanstalkd import checks, client, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.message import tube
from djqueue.drivers.guard import Guard
from djqueue.drivers.types import Capabilities, Change, QueueCounts, State, StoredJob

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

_COUNTS = ("current-jobs-ready", "current-jobs-delayed", "current-jobs-reserved")
ROWS_AT_ONCE = 200


class BeanstalkdInspector(Inspector):
    """Looks through the connection on which jobs are put."""

    def __init__(
        self,
        settings: ConnectionSettings,
        capabilities: Capabilities,
        connection: Client,
        guard: Guard,
    ) -> None:
        super().__init__(settings, capabilities)
        self._client = connection
        self._guard = guard

    def counts(self, queue: str) -> QueueCounts:
        """Return the numbers of jobs in a tube, and the time at which the next one to run was
        put.
        """
        name = tube(queue)
        stats, head = self._client.ask([client.stats_tube(name), client.PEEK_READY], use=name)
        known = stats.pairs()
        waiting, delayed, reserved = (int(known.get(count, 0)) for count in _COUNTS)
        oldest = self._put_at(head) if waiting and head.word == "FOUND" else None
        return QueueCounts(waiting, delayed, reserved, oldest)

    def _put_at(self, head: Reply) -> datetime | None:
        (reply,) = self._client.ask([client.stats_job(head.number)])
        age = reply.pairs().get("age")
        return None if age is None else datetime.now(timezone.utc) - timedelta(seconds=int(age))

    def queues(self) -> list[str]:
        """Return the names of the tubes that hold something, and of the configured one."""
        (listed,) = self._client.ask([client.LIST_TUBES])
        tubes = listed.items()
        replies = self._client.ask([client.stats_tube(each) for each in tubes])
        busy = [each for each, reply in zip(tubes, replies, strict=True) if _holds_any(reply)]
        return sorted({self.settings.queue, *busy})

    def make_due(self, queue: str) -> int:
        """Kick the tube until nothing is delayed. A kick takes buried jobs first, all of them."""
        name, moved = tube(queue), 0
        while True:
            kicked, stats = self._client.ask([client.KICK, client.stats_tube(name)], use=name)
            moved += kicked.number
            if not kicked.number or not int(stats.pairs().get("current-jobs-delayed", 0)):
                return moved

    def clear(self, queue: str) -> int:
        """Delete waiting and delayed jobs, and their rows."""
        removed = 0
        for peek in (client.PEEK_READY, client.PEEK_DELAYED):
            ids: list[str] = []
            for id in self._delete_all(tube(queue), peek):
                removed += 1
                ids.append(id)
                if len(ids) == ROWS_AT_ONCE:
                    self._guard.delete_unheld(ids)
                    ids = []
            if ids:
                self._guard.delete_unheld(ids)
        return removed

    def _delete_all(self, name: str, peek: bytes) -> Iterator[str]:
        """Delete jobs and return their ids: one at a time, since only the next one can be seen.
        Jobs that a worker has reserved meanwhile are not found, and stay.
        """
        (head,) = self._client.ask([peek], use=name)
        while head.word == "FOUND":
            deleted, following = self._client.ask([client.delete(head.number), peek])
            if deleted.word == "DELETED":
                yield message.decode(head.data, name, head.number).id
            head = following

    # -- single jobs ---------------------------------------------------------------------------

    def heads(self, queue: str) -> list[StoredJob]:
        """Return the job that is next to run, and the delayed one that is due next."""
        peeks = [client.PEEK_READY, client.PEEK_DELAYED]
        return self._stored(self._client.ask(peeks, use=tube(queue)))

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """Find jobs by `StoredJob.key`: the server's own number of the job, and its id."""
        keys = [key for id in ids if (key := _number_in(id)) is not None]
        if len(keys) < len(ids):
            raise self._unsupported("find")
        replies = self._client.ask([client.peek(key) for key in keys]) if keys else []
        # After a restart without a binlog the server gives the same numbers to other jobs.
        return [job for job in self._stored(replies) if job.key in ids]

    def _change(self, change: Change, queue: str, job: StoredJob) -> bool:
        """Change a job. The server itself refuses to delete a job that a worker has reserved, and
        to kick one that is not delayed.
        """
        number = _number_in(job.key) or 0
        if change is Change.DELETE and job.state is not State.RESERVED:
            (reply,) = self._client.ask([client.delete(number)])
            if reply.word == "DELETED":
                self._guard.delete_unheld([job.id])
            return reply.word == "DELETED"
        if change is Change.RUN_NOW and job.state is State.DELAYED:
            (reply,) = self._client.ask([client.kick_job(number)])
            return reply.word == "KICKED"
        if change is Change.DELETE_RUNNING and job.state is State.RESERVED:
            return self._guard.cancel(job.id, unseen=False)
        return False

    def _stored(self, replies: Sequence[Reply]) -> list[StoredJob]:
        """Return what the server and the guard rows know of jobs that were peeked at."""
        found = [reply for reply in replies if reply.word == "FOUND"]
        stats = self._client.ask([client.stats_job(each.number) for each in found]) if found else []
        jobs = [_describe(*pair) for pair in zip(found, stats, strict=True)]
        rows = self._guard.numbers([job.id for job in jobs if job is not None])
        return [job._replace(**rows.get(job.id, {})) for job in jobs if job is not None]

    def cancel(self, id: str, *, unseen: bool) -> bool:
        return self._guard.cancel(id, unseen=unseen)

    def warnings(self) -> list[str]:
        return list(checks.warnings(self._client, self.settings))


def has_job(connection: Client, key: int, id: str) -> bool:
    """Return whether the server still has job number `key`, and it is the one with that id: after a
    restart without a binlog the server gives the same numbers to other jobs.
    """
    (reply,) = connection.ask([client.peek(key)])
    return reply.word == "FOUND" and message.decode(reply.data, "", key).id == id


_STATES = {"ready": State.WAITING, "delayed": State.DELAYED, "reserved": State.RESERVED}


def _describe(peeked: Reply, stats: Reply) -> StoredJob | None:
    """Return a job without the columns of its guard row; None if it is gone, or was buried by
    others.
    """
    known = stats.pairs()
    state = _STATES.get(known.get("state", ""))
    if state is None:
        return None
    queue, now = known.get("tube", ""), datetime.now(timezone.utc)
    read = message.decode(peeked.data, queue, peeked.number)
    created = now - timedelta(seconds=int(known.get("age", 0)))
    end = now + timedelta(seconds=int(known.get("time-left", 0)))
    return StoredJob(
        id=read.id,
        queue=queue,
        name=read.name,
        payload=read.payload,
        state=state,
        attempts=0,
        interruptions=0,
        priority=read.priority,
        created_at=created,
        available_at=end if state is State.DELAYED else created,
        reserved_at=None,
        reserved_until=end if state is State.RESERVED else None,
        worker=None,
        reservation=known.get("reserves", "") if state is State.RESERVED else "",
        key=f"{peeked.number}-{read.id}",
    )


def _number_in(key: str) -> int | None:
    """Return the server's number in a `StoredJob.key`; None for anything else."""
    number, _hyphen, id = key.partition("-")
    is_key = number.isascii() and number.isdigit() and len(number) < 20 and len(id) == 36
    return int(number) if is_key else None


def _holds_any(reply: Reply) -> bool:
    known = reply.pairs()
    return any(int(known.get(name, 0)) for name in _COUNTS)
