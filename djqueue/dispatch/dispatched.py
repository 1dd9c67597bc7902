"""`DispatchedJob`: a job after its dispatch, here or in any other process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from asgiref.sync import sync_to_async

from djqueue.composition import removing, steps
from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.outbox import outbox
from djqueue.drivers import parking
from djqueue.drivers.base import State, StoredJob
from djqueue.errors import QueueUnavailable, ResultNotStored, Unsupported
from djqueue.jobs import registry
from djqueue.payload.ids import check_id
from djqueue.runner.current import CurrentJob
from djqueue.signals import announce, job_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from djqueue.dispatch.connections import QueueConnection
    from djqueue.dispatch.sending import Deferred

__all__ = ["DispatchedJob", "find"]

R = TypeVar("R")

_STATUS = {
    State.WAITING: "waiting",
    State.DELAYED: "delayed",
    State.RESERVED: "running",
    State.STUCK: "running",
}


class _Found(NamedTuple):
    job: StoredJob
    in_outbox: bool = False


class DispatchedJob(Generic[R]):
    """A dispatched job, by its id. It caches nothing: `status` and `cancel` ask the store."""

    __slots__ = ("_connection", "_created", "_deferred", "_existing", "_queue", "id")

    def __init__(
        self,
        id: str,
        connection: str | None = None,
        queue: str | None = None,
        *,
        created: bool | None = True,
        existing: str | None = None,
        deferred: Deferred | None = None,
    ) -> None:
        self.id = id
        """A UUID, known before the commit. It never changes."""
        self._connection = connection
        self._queue = queue
        self._created = created if existing is None else False
        self._existing = existing
        self._deferred = deferred

    @property
    def created(self) -> bool | None:
        """Whether the dispatch created a job: not if a unique one was there already. None while it
        waits for a commit.
        """
        if self._created is None and self._deferred is not None and self._deferred.sent:
            self._existing = self._deferred.holders.get(self.id)
            self._created = self._existing is None
        return self._created

    @property
    def existing(self) -> str | None:
        """Where `created` is False, the id of the job that was there: `status`, `result` and
        `cancel` are about that one.
        """
        return None if self.created else self._existing

    @property
    def _meant(self) -> str:
        """The id of the job that this is about."""
        return self.existing or self.id

    @property
    def status(self) -> str:
        """``waiting delayed running failed`` or ``unknown``, as the store says now.

        A job that is done leaves no trace, so its status is ``unknown``.
        """
        found = self._locate()
        if found is not None:
            return _STATUS[found.job.state]
        return "failed" if _has_failed(self._meant) else "unknown"

    @property
    def progress(self) -> None:
        """None: progress is not stored yet."""
        return

    def result(self, timeout: float | None = None) -> R:
        """Return what ``handle()`` returned. Raises `ResultNotStored` where it is not kept."""
        raise ResultNotStored(
            f"No result is kept for job {self.id}. dispatch_sync() returns what a job returns."
        )

    def cancel(self) -> bool:
        """Remove the job, even while it runs. Return whether there was a job to remove.

        A running job sees ``current_job().is_cancelled``, and its outcome is ignored. A job that
        waits for a commit is not sent. SQS and beanstalkd cannot look up a job: there a worker
        removes it when it reserves it, and the answer is True unless the job is known to have
        ended. Raises `Unsupported` where a store can do neither, and where several such stores may
        have the job: pass the connection to `find()`.
        """
        if self._deferred is not None and self._deferred.discard(self.id):
            return True
        found = self._locate()
        if found is None or self._connection is None:
            return self._cancel_unseen()
        if not self._remove(found, self._connection):
            return False
        stored = found.job
        job = CurrentJob(stored.id, stored.name, stored.queue, self._connection, stored.attempts)
        announce(job_cancelled, registry.class_of(stored.name), job=job)
        return True

    def _remove(self, found: _Found, connection: str) -> bool:
        if found.in_outbox:
            if steps.give_up_with(steps.store(), [found.job.id]):
                return True
            if parking.remove([found.job.id], connection):
                return True
        return removing.remove_stored(queues[connection].driver, found.job)

    def _cancel_unseen(self) -> bool:
        """Record that the job is cancelled, for stores that cannot look it up."""
        keepers = [each for each in self._candidates() if each.driver.capabilities.keeps_jobs]
        silent = [each for each in keepers if each.driver.capabilities.why_not("find")]
        if not silent or _has_failed(self._meant):
            return False
        sure = len(keepers) == 1
        for connection in silent:
            if connection.inspector.cancel(self._meant, unseen=sure):
                job = CurrentJob(self._meant, "", self._queue or "", connection.name, 0)
                announce(job_cancelled, None, job=job)
                return True
        if not sure:
            raise Unsupported(
                f"Job {self.id} may wait in connection "
                f'"{", ".join(each.name for each in silent)}", which cannot look up a job by its '
                "id. Name the connection it was dispatched to: find(id, connection=...).cancel()."
            )
        return False

    async def astatus(self) -> str:
        """`status` for coroutines."""
        found: str = await sync_to_async(lambda: self.status)()
        return found

    async def aresult(self, timeout: float | None = None) -> R:
        """`result` for coroutines."""
        value: R = await sync_to_async(self.result)(timeout)
        return value

    async def acancel(self) -> bool:
        """`cancel` for coroutines."""
        cancelled: bool = await sync_to_async(self.cancel)()
        return cancelled

    def _locate(self) -> _Found | None:
        """Find the job in a store or in the outbox, and remember which connection has it."""
        unavailable: QueueUnavailable | None = None
        for connection in self._candidates():
            try:
                found = connection.inspector.find([self._meant])
            except Unsupported:
                continue
            except QueueUnavailable as error:
                unavailable = error
                continue
            if found:
                self._connection = connection.name
                return _Found(found[0])
        asked = list(self._candidates())
        if any(each.driver.capabilities.keeps_jobs for each in asked):
            elsewhere = any(outbox.may_have_rows(each.settings) for each in asked)
            aliases = settings().databases if elsewhere else (steps.store(),)
            for name, stored in parking.find([self._meant], aliases=aliases):
                self._connection = name
                return _Found(stored, in_outbox=True)
        if unavailable is not None:
            raise unavailable
        return None

    def _candidates(self) -> Iterator[QueueConnection]:
        known = settings()
        names = (
            [known.default, *known.connections] if self._connection is None else [self._connection]
        )
        kept = (queues[name].driver.members or (name,) for name in names)
        return (queues[name] for name in dict.fromkeys(name for some in kept for name in some))

    def __dir__(self) -> list[str]:
        """Leave out the attributes that nothing fills yet: progress, results."""
        return [name for name in super().__dir__() if name not in ("progress", "result")]

    def __repr__(self) -> str:
        return f"<DispatchedJob {self.id}>"


def find(id: str, connection: str | None = None, queue: str | None = None) -> DispatchedJob[Any]:
    """Return the `DispatchedJob` with that id, dispatched by any process.

    Without `connection`, all connections are asked, the default one first. Raises `QueueError` if
    `id` is not a UUID, and `UnknownConnection`.
    """
    if connection is not None:
        settings().connection(connection)
    return DispatchedJob(check_id(id), connection, queue)


def _has_failed(id: str) -> bool:
    alias = settings().failed_jobs
    if alias is None:
        return False
    from djqueue.models import FailedJob

    return FailedJob.objects.using(alias).filter(uuid=id).exists()
