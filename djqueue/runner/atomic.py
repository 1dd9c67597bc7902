"""``atomic=True``: the job's own end is part of the transaction that its work is in.

What ``handle()`` writes there is committed together with the job's removal from its queue, or not
at all. Where the queue lives in another store, a guard row in `djqueue_runs` takes the place of
the removal: an attempt that finds it has nothing left to do. It is the driver's own row, under the
reservation's number, or one of ours where the driver keeps none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from djqueue.conf import settings
from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import LeaseLost
from djqueue.runner.current import CurrentJob
from djqueue.runner.decision import Ending

if TYPE_CHECKING:
    from djqueue.drivers.base import Session

SessionOfThread = Callable[[], "Session"]
"""Gives the session through which an atomic job settles itself, on this thread's connections."""


_NO_FRAME = nullcontext()


class Frame:
    """What a job runs in: here, no transaction of ours."""

    settled = False
    """The job has left its queue already, in its own transaction."""
    committed = False
    """What the job wrote there is committed, with the job's end."""

    def around(self, job: CurrentJob, reservation: Reservation) -> AbstractContextManager[None]:
        """Run the block, which is the job, in the frame."""
        return _NO_FRAME

    def _note_commit(self, alias: str) -> None:
        """Learn of the commit before anything that the job gives to ``on_commit()``, which may
        raise. A transaction around ours (a test's) is not ours to wait for.
        """
        from django.db import transaction

        def has_committed() -> None:
            self.committed = True

        if len(transaction.get_connection(alias).atomic_blocks) == 1:
            transaction.on_commit(has_committed, using=alias)


class AlreadyDone(LeaseLost):
    """An earlier attempt has committed; only its removal from the queue is missing."""


class _UndoError(Exception):
    """Rolls the transaction back for ``fail()``, and goes no further."""


def frame_for(wanted: bool | str, connection: str, session: SessionOfThread | None) -> Frame:
    """The frame that a job's ``atomic`` option asks for."""
    if wanted is False:
        return Frame()
    if session is None:
        return Alone(
            wanted if isinstance(wanted, str) else settings().connection(connection).database
        )
    return InTransaction(wanted, connection, session())


class Alone(Frame):
    """A transaction around a job that is in no queue: it runs at once, for its caller."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @contextmanager
    def around(self, job: CurrentJob, reservation: Reservation) -> Iterator[None]:
        """Commit what the job wrote; roll it back for an exception and for ``fail()``."""
        from django.db import transaction

        with suppress(_UndoError), transaction.atomic(using=self._alias):
            self._note_commit(self._alias)
            yield
            if job.requested is Ending.FAILED:
                raise _UndoError


class InTransaction(Frame):
    """A transaction on `alias`, of which the settlement is the last statement."""

    def __init__(self, wanted: bool | str, connection: str, session: Session) -> None:
        self._session = session
        self._alias = _alias(wanted, connection, session)
        self._joined = session.joins(self._alias)
        self._guarded = session.guards(self._alias)

    @contextmanager
    def around(self, job: CurrentJob, reservation: Reservation) -> Iterator[None]:
        """Commit what the job wrote together with its end, or roll both back."""
        from django.db import transaction

        with (
            suppress(_UndoError),
            _immediate(self._alias),
            transaction.atomic(using=self._alias),
        ):
            self._note_commit(self._alias)
            if not self._joined and not self._guarded:
                self._guard(reservation)
            yield
            if job.requested is Ending.FAILED:
                raise _UndoError
            if self._joined:
                self._settle(job, reservation)
            elif self._guarded:
                self._mark(job, reservation)
            elif job.requested is Ending.RELEASED:
                self._unguard(reservation)

    def _settle(self, job: CurrentJob, reservation: Reservation) -> None:
        if job.requested is Ending.RELEASED:
            charged = not job.is_uncharged
            settlement = Settlement(reservation, Verdict.RELEASE, job.delay, charged)
        else:
            settlement = Settlement(reservation)
        if self._session.settle([settlement]):
            raise _lost(job)
        self.settled = True

    def _mark(self, job: CurrentJob, reservation: Reservation) -> None:
        """Last, so that nobody waits for the row while the job runs."""
        over = job.requested is not Ending.RELEASED
        if not self._session.confirm_end(reservation, over=over):
            raise _lost(job)

    def _guard(self, reservation: Reservation) -> None:
        """One row a job: whoever inserts it second has nothing to do. It is rolled back with the
        transaction, and removed when it is too old for the job to come again.
        """
        from djqueue.drivers.now import UtcNow
        from djqueue.models import Run

        row, new = Run.objects.using(self._alias).get_or_create(
            uuid=reservation.id, defaults={"ended": True, "updated_at": UtcNow()}
        )
        if not new and row.ended:
            raise AlreadyDone(
                f"{reservation.name} {reservation.id} was done by an earlier attempt."
            )

    def _unguard(self, reservation: Reservation) -> None:
        """A released job commits what it wrote, and runs again."""
        from djqueue.models import Run

        Run.objects.using(self._alias).filter(uuid=reservation.id).delete()


def was_committed(
    wanted: bool | str, connection: str, session: Session, reservation: Reservation
) -> bool:
    """Whether an atomic job has committed although its process did not live to say so, or is not
    ours any more. Where its end in the store is a part of its transaction the store knows that.
    """
    from django.db import transaction

    from djqueue.models import Run

    alias = _alias(wanted, connection, session)
    if session.joins(alias):
        return False
    if session.guards(alias):
        with transaction.atomic(using=alias):
            return not session.confirm_end(reservation, over=False)
    return Run.objects.using(alias).filter(uuid=reservation.id, ended=True).exists()


def _alias(wanted: bool | str, connection: str, session: Session) -> str:
    """The database that an atomic job's transaction is in."""
    if isinstance(wanted, str):
        return wanted
    own = settings().connection(connection)
    return own.database if session.joins(own.database) else "default"


def _lost(job: CurrentJob) -> LeaseLost:
    return LeaseLost(
        f"{job.name} {job.id} was taken over or deleted while it ran; what it wrote in its"
        " transaction was rolled back."
    )


@contextmanager
def _immediate(alias: str) -> Iterator[None]:
    """On SQLite take the write lock at BEGIN: a transaction that has read cannot take it later
    once somebody else has written.
    """
    from django.db import connections

    connection: Any = connections[alias]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()  # which is when Django reads the mode from the settings
    mode = connection.transaction_mode
    connection.transaction_mode = "IMMEDIATE"
    try:
        yield
    finally:
        connection.transaction_mode = mode
