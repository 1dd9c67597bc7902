"""The job that runs here, as it sees itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from asgiref.sync import sync_to_async

from djqueue.conf.kinds import LONGEST, is_number
from djqueue.errors import ManuallyFailed, NotInJob
from djqueue.runner.decision import Ending

if TYPE_CHECKING:
    from djqueue.drivers.base import Reservation

Default = TypeVar("Default")
_RAISE: Any = object()
DAY = 86400.0
KILLED_BY = 30.0
"""Seconds after its timeout by which a job's process has been killed for certain."""


def never() -> bool:
    """No, as far as is known here."""
    return False


def unlimited() -> None:
    """None: no limit is known."""


class Watch(NamedTuple):
    """How a job that runs learns what happens to it meanwhile."""

    cancelled: Callable[[], bool] = never
    stopping: Callable[[], bool] = never
    left: Callable[[], float | None] = unlimited
    """Seconds until its timeout, where its process is killed soon after that; else None."""


UNWATCHED = Watch()

Reported = tuple[float, float, str]
"""How far a job has come: done, total, and a message."""
Report = Callable[[Reported], None]
LONGEST_MESSAGE = 200
"""Bytes of a message of `CurrentJob.progress` that are kept."""


class CurrentJob:
    """A running attempt. `current_job()` and a job's ``self.job`` give this object."""

    __slots__ = (
        "_batch_id",
        "_free_key",
        "_interruptions",
        "_is_begun",
        "_is_encrypted",
        "_kept",
        "_look_up_batch",
        "_look_up_previous",
        "_report",
        "_reported",
        "_run_id",
        "_watch",
        "attempt",
        "chain",
        "connection",
        "delay",
        "error",
        "id",
        "instance",
        "is_uncharged",
        "name",
        "queue",
        "requested",
    )

    def __init__(
        self,
        id: str,
        name: str,
        queue: str,
        connection: str,
        attempt: int,
        watch: Watch = UNWATCHED,
    ) -> None:
        self.id = id
        self.name = name
        self.queue = queue
        self.connection = connection
        self.attempt = attempt
        """The number of this attempt, from 1. An interrupted attempt keeps its number."""
        self.instance: Any = None
        """The `Job` with its arguments; None while they cannot be made."""
        self.chain: Any = None
        self.requested: Ending | None = None
        self.delay = 0.0
        self.error: BaseException | None = None
        self.is_uncharged = False
        """It was released before ``handle()``, or since its worker stops: that is no attempt."""
        self._watch = watch

    @classmethod
    def of(cls, reservation: Reservation, connection: str, watch: Watch = UNWATCHED) -> CurrentJob:
        """A reserved job of `connection`, without its instance."""
        name, queue = reservation.name, reservation.queue
        return cls(reservation.id, name, queue, connection, reservation.attempt, watch)

    def release(self, delay: float | timedelta | datetime = 0) -> None:
        """Put the job back into its queue when this attempt ends, after `delay`.

        It counts as an attempt, unless the worker stops (`is_stopping`) or ``handle()`` was not
        called. `delay` is in seconds, a `timedelta`, or an aware `datetime`.
        """
        seconds = _seconds(delay)
        if self.requested is not Ending.FAILED:
            self.requested = Ending.RELEASED
            self.delay = seconds
            self.is_uncharged = self.is_stopping or not self.is_begun

    def fail(self, error: BaseException | str | None = None) -> None:
        """Give the job up when this attempt ends; nothing retries it by itself."""
        self.requested = Ending.FAILED
        if not isinstance(error, BaseException):
            error = ManuallyFailed(error or f"{self.name} called fail().")
        self.error = error

    def delete(self) -> None:
        """Remove the job when this attempt ends, as if it were done."""
        if self.requested is not Ending.FAILED:
            self.requested = Ending.DELETED

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Say how far the job has come: `done` of `total`. `DispatchedJob.progress` shows it.

        It is kept for a job with ``store_result``. On a worker a call takes microseconds: the
        latest progress is stored twice a second. Of `message` 200 bytes are kept, and nothing if
        the job is encrypted.
        """
        self._note_progress(done, total, message)
        report, _ = self.report
        if report is not None and self.reported is not None:
            report(self.reported)

    async def aprogress(self, done: float, total: float, message: str = "") -> None:
        """`progress` for coroutines."""
        self._note_progress(done, total, message)
        report, waits = self.report
        if report is not None and self.reported is not None:
            if waits:
                await sync_to_async(report)(self.reported)
            else:
                report(self.reported)

    def _note_progress(self, done: float, total: float, message: str) -> None:
        for number in (done, total):
            if not is_number(number) or number < 0:
                raise ValueError(f"progress() was given {number!r}, not a number of 0 or more.")
        message = "" if self.is_encrypted else message
        kept = message.replace("\0", " ").encode("utf-8", "replace")[:LONGEST_MESSAGE]
        self._reported = (float(done), float(total), kept.decode("utf-8", "ignore"))

    @property
    def previous(self) -> Any:
        """What the step before this one in its chain returned; None where there is none. Raises
        `ResultNotStored` where that was nothing that can be stored.
        """
        return self.look_up_previous()

    @property
    def batch(self) -> Any:
        """The `JobBatch` that the job is a member of, or whose state called for it, as it is now;
        None without one. Asks the database.
        """
        return getattr(self, "_look_up_batch", _nothing)()

    async def aprevious(self) -> Any:
        """`previous` for coroutines: a model in it is fetched."""
        return await sync_to_async(self.look_up_previous)()

    async def abatch(self) -> Any:
        """`batch` for coroutines."""
        return await sync_to_async(lambda: self.batch)()

    # -- what is seldom set: a job without it costs nothing ------------------------------------

    @property
    def look_up_previous(self) -> Callable[[], Any]:
        """How `previous` is found."""
        found: Callable[[], Any] = getattr(self, "_look_up_previous", _nothing)
        return found

    @look_up_previous.setter
    def look_up_previous(self, value: Callable[[], Any]) -> None:
        self._look_up_previous = value

    @property
    def free_key(self) -> Callable[[], object]:
        """Lets other jobs have the key of this one, if it has one."""
        found: Callable[[], object] = getattr(self, "_free_key", _nothing)
        return found

    @free_key.setter
    def free_key(self, value: Callable[[], object]) -> None:
        self._free_key = value

    @property
    def reported(self) -> Reported | None:
        """Return what `progress` was given last; None before the first call."""
        return getattr(self, "_reported", None)

    @property
    def report(self) -> tuple[Report | None, bool]:
        """Return what takes each progress, and whether it may wait for a database; None where
        nothing does.
        """
        return getattr(self, "_report", _UNREPORTED)

    @report.setter
    def report(self, value: tuple[Report | None, bool]) -> None:
        self._report = value

    @property
    def is_encrypted(self) -> bool:
        """Return whether what the job carries is encrypted wherever it is stored."""
        return getattr(self, "_is_encrypted", False)

    @is_encrypted.setter
    def is_encrypted(self, value: bool) -> None:
        self._is_encrypted = value

    @property
    def batch_id(self) -> str:
        """The id of `batch`; empty without one."""
        return getattr(self, "_batch_id", "")

    def set_batch(self, id: str, look_up: Callable[[], Any]) -> None:
        """Say which batch it is of, and how that is found."""
        self._batch_id, self._look_up_batch = id, look_up

    @property
    def interruptions(self) -> int:
        """How many runs of it were interrupted before."""
        return getattr(self, "_interruptions", 0)

    @interruptions.setter
    def interruptions(self, value: int) -> None:
        self._interruptions = value

    @property
    def is_begun(self) -> bool:
        """Whether ``handle()`` was called. False while middleware may still keep it from that."""
        return getattr(self, "_is_begun", True)

    @is_begun.setter
    def is_begun(self, value: bool) -> None:
        self._is_begun = value

    @property
    def life(self) -> float:
        """Seconds after which this run has ended for certain; a day where nothing limits it."""
        left = self._watch.left()
        return DAY if left is None else left + KILLED_BY

    @property
    def run_id(self) -> str:
        """Names this run: a job may run several times with the same attempt number."""
        if not hasattr(self, "_run_id"):
            self._run_id = secrets.token_hex(8)
        return self._run_id

    @property
    def kept(self) -> dict[str, Any]:
        """What others keep for as long as this attempt runs, by names of their own."""
        if not hasattr(self, "_kept"):
            self._kept: dict[str, Any] = {}
        return self._kept

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled or deleted while it runs; its outcome will be ignored.

        Known within five seconds; reading it costs nothing.
        """
        return self._watch.cancelled()

    @property
    def is_stopping(self) -> bool:
        """Whether the worker is stopping. A long job may `release()` itself then, having noted
        how far it has come: that does not count as an attempt. Reading it costs nothing.
        """
        return self._watch.stopping()

    def __repr__(self) -> str:
        return f"<CurrentJob {self.name} {self.id} attempt {self.attempt} on {self.queue}>"


current: ContextVar[CurrentJob | None] = ContextVar("djqueue_current_job", default=None)


@overload
def current_job() -> CurrentJob: ...
@overload
def current_job(default: Default) -> CurrentJob | Default: ...
def current_job(default: Any = _RAISE) -> Any:
    """The job that runs here; outside a job `default`, or `NotInJob` if there is none."""
    job = current.get()
    if job is not None:
        return job
    if default is _RAISE:
        raise NotInJob(
            "current_job() was called outside a job. Call current_job(None) where both may happen."
        )
    return default


_UNREPORTED: tuple[Report | None, bool] = (None, False)


def _nothing() -> None:
    return None


def _seconds(delay: float | timedelta | datetime) -> float:
    if isinstance(delay, datetime):
        if delay.tzinfo is None:
            raise ValueError(
                f"release() was given the naive datetime {delay}: its time zone is unknown."
                " Use django.utils.timezone.now(), or a timedelta."
            )
        delay = delay - datetime.now(delay.tzinfo)
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not seconds <= LONGEST:
        raise ValueError(f"release() was given {seconds:g} seconds; the longest is {LONGEST}.")
    return max(0.0, seconds)
