"""`DispatchedJob`: a job after its dispatch, here or in any other process."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from asgiref.sync import sync_to_async

from djqueue.composition import removing
from djqueue.composition.chains import steps
from djqueue.conf import settings
from djqueue.dispatch.commits import open_aliases_for, when_all_commit
from djqueue.dispatch.connections import driver_of, queues
from djqueue.dispatch.outbox import outbox
from djqueue.drivers import parking
from djqueue.drivers.base import State, StoredJob
from djqueue.errors import QueueUnavailable, ResultNotStored, Unsupported
from djqueue.jobs import registry
from djqueue.payload.ids import check_id
from djqueue.payload.links import needs_guard
from djqueue.results import asking
from djqueue.results import rows as results
from djqueue.results.asking import JobStatus, Progress
from djqueue.runner.current import CurrentJob
from djqueue.signals import announce, job_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from djqueue.dispatch.connections import QueueConnection
    from djqueue.drivers.base import Driver
    from djqueue.models import JobResult

__all__ = ["DispatchedJob", "find"]

R = TypeVar("R")

_STATUS = {
    State.WAITING: JobStatus.WAITING,
    State.DELAYED: JobStatus.DELAYED,
    State.RESERVED: JobStatus.RUNNING,
    State.STUCK: JobStatus.RUNNING,
}
_LOOK_EVERY = 5.0
"""Seconds between two questions whether a job whose end is awaited is still there."""


class Unsent(Protocol):
    """Jobs that wait for a commit before they are sent."""

    @property
    def sent(self) -> bool:
        """Whether they are sent."""

    @property
    def holders(self) -> Mapping[str, str]:
        """When they are sent, for each that found another job with its key the id of that one."""

    def discard(self, id: str) -> bool:
        """Drop a job before it is sent. Return whether it was still waiting."""


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
        deferred: Unsent | None = None,
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
        """Whether the dispatch created a job: not if a unique one was there already, or if it has
        replaced a debounced one. None while it waits for a commit.
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
    def status(self) -> JobStatus:
        """Return where the job stands: ``waiting delayed running done failed cancelled`` or
        ``unknown``.

        Without ``store_result`` a job that is done or cancelled leaves no trace: its status is
        ``unknown`` then.
        """
        return self._status_of(asking.read(self._meant))

    def _status_of(self, row: JobResult | None) -> JobStatus:
        if (ended := asking.ended_as(row)) is not None:
            return ended
        if (known := self._status_in_store(row)) is not JobStatus.UNKNOWN or row is None:
            return known
        # It may have moved between the questions: it is in one place or another at any time.
        return asking.ended_as(asking.read(self._meant)) or self._status_in_store(row)

    def _status_in_store(self, row: JobResult | None) -> JobStatus:
        found = self._locate()
        if found is not None:
            return _STATUS[found.job.state]
        if _has_failed(self._meant):
            return JobStatus.FAILED
        if row is not None and self._is_unseen(row.connection):
            return JobStatus.WAITING if row.done is None else JobStatus.RUNNING
        return JobStatus.UNKNOWN

    @staticmethod
    def _is_unseen(connection: str) -> bool:
        """Return whether a store cannot look up its jobs."""
        if connection not in settings().connections:
            return False
        return bool(queues[connection].driver.capabilities.why_not("find"))

    @property
    def progress(self) -> Progress | None:
        """Return how far the job has come (``done total percent message``); None where it has not
        said so, or has no ``store_result``.
        """
        return asking.progress_of(asking.read(self._meant))

    def result(self, timeout: float | None = None) -> R:
        """Return what ``handle()`` returned, waiting for the end of the job for `timeout` seconds.

        Raises `JobFailed` where it failed or was cancelled, `ResultTimeout` (a `TimeoutError`), and
        `ResultNotStored` at once for a job without ``store_result``.
        """
        look_at = time.monotonic() + _LOOK_EVERY
        for pause in asking.pauses(self._meant, timeout):
            with suppress(asking.NotYet):
                return self._look()
            if time.monotonic() > look_at:
                self._refuse_if_gone()
                look_at = time.monotonic() + _LOOK_EVERY
            time.sleep(pause)
        raise AssertionError  # the pauses end with an error

    def _look(self) -> R:
        value: R = asking.value_of(asking.read(self._meant), self._meant)
        return value

    def _refuse_if_gone(self) -> None:
        """Raise `ResultNotStored` where there is nothing to wait for any more."""
        if self.status is JobStatus.UNKNOWN:
            raise ResultNotStored(
                f"Job {self._meant} is in no store: it was removed from there by other means than "
                "djqueue's, or the store has lost it."
            )

    def cancel(self) -> bool:
        """Remove the job, even while it runs. Return whether there was a job to remove.

        A running job sees ``current_job().is_cancelled``, and its outcome is ignored. A job that
        waits for a commit is not sent. SQS and beanstalkd cannot look up a job: there a worker
        removes it when it reserves it, and the answer is True unless the job is known to have
        ended. Raises `Unsupported` where a store can do neither, and where several such stores may
        have the job: pass the connection to `find()`.

        In a transaction, a job in another store from which something follows (in a chain, a batch,
        a kept result) is removed at the commit: a rollback would undo only what is in SQL.
        """
        if self._deferred is not None and self._deferred.discard(self.id):
            return True
        found = self._locate()
        if found is None or self._connection is None:
            return self._cancel_unseen()
        connection = self._connection
        if aliases := _to_wait_for(found, queues[connection].driver):
            when_all_commit(aliases, self._cancel_where_it_is)
            return True
        return self._cancel_found(found, connection)

    def _cancel_where_it_is(self) -> None:
        """Cancel the job after a commit, until which it may have been moved."""
        found = self._locate()
        if found is not None and self._connection is not None:
            self._cancel_found(found, self._connection)

    def _cancel_found(self, found: _Found, connection: str) -> bool:
        if not self._remove(found, connection):
            return False
        stored = found.job
        job = CurrentJob(stored.id, stored.name, stored.queue, connection, stored.attempts)
        announce(job_cancelled, registry.class_of(stored.name), job=job)
        return True

    def _remove(self, found: _Found, connection: str) -> bool:
        if found.in_outbox:
            alias, id = steps.store(), found.job.id
            if removing.remove_member(alias, id, driver_of) or steps.give_up_with(alias, [id]):
                return True
            if removing.remove_waiting(queues[connection].driver, found.job):
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
                results.cancelled([self._meant])
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

    async def astatus(self) -> JobStatus:
        """`status` for coroutines."""
        found: JobStatus = await sync_to_async(lambda: self.status)()
        return found

    async def aresult(self, timeout: float | None = None) -> R:
        """`result` for coroutines."""
        look_at = time.monotonic() + _LOOK_EVERY
        for pause in asking.pauses(self._meant, timeout):
            with suppress(asking.NotYet):
                value: R = await sync_to_async(self._look)()
                return value
            if time.monotonic() > look_at:
                await sync_to_async(self._refuse_if_gone)()
                look_at = time.monotonic() + _LOOK_EVERY
            await asyncio.sleep(pause)
        raise AssertionError  # the pauses end with an error

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


def _to_wait_for(found: _Found, driver: Driver) -> list[str]:
    """Return the databases whose commit the removal of a job has to wait for."""
    alias = steps.store()
    if found.in_outbox or not needs_guard(found.job.payload):
        return []
    if driver.shares_transaction_with(alias):
        return []  # its removal is a part of the transaction
    hint = "Use transaction.atomic(), or cancel the job after the commit. It was not cancelled."
    aliases = open_aliases_for(driver, hint)
    return [] if aliases == [alias] and driver.session().guards(alias) else aliases


def _has_failed(id: str) -> bool:
    alias = settings().failed_jobs
    if alias is None:
        return False
    from djqueue.models import FailedJob

    return FailedJob.objects.using(alias).filter(uuid=id).exists()
