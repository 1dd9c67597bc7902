"""``atomic=True``: the job's own end is part of the transaction that its work is in.

What ``handle()`` writes there is committed together with the job's removal from its queue, or not
at all. Where the queue lives in another store, a guard row in `djqueue_runs` takes the place of
the removal: an attempt that finds it has nothing left to do. It is the driver's own row, under the
reservation's number, or one of ours where the driver keeps none.

What follows from the end of a job that is bound to others is in one database. Where that is not the
one of the transaction, a row there says only how the job ended; the parent writes what follows, or
the worker that gets the job after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol

from djqueue.conf import settings
from djqueue.drivers.base import Reservation
from djqueue.drivers.guard.ends import CommittedRow, EndRow
from djqueue.errors import LeaseLost
from djqueue.payload.links import needs_guard
from djqueue.runner.decision import DONE, Action, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.text.marks import in_own_words

if TYPE_CHECKING:
    from djqueue.drivers.base import Session


class Finisher(Protocol):
    """What stores ends; `djqueue.finish.finish.Finish` does."""

    @property
    def session(self) -> Session:
        """The session through which it settles."""

    def within(self, ends: Sequence[End], alias: str) -> set[str]:
        """End `ends` in the open transaction of `alias`, and write what follows. Returns the ids of
        those that were lost.
        """


FinishOfThread = Callable[[], Finisher]
"""Gives what an atomic job ends itself through, on this thread's connections."""


class Scope:
    """What ``handle()`` runs in: here, no transaction of ours."""

    committed = False
    """What the job wrote there is committed, with the job's end."""

    def around(self) -> AbstractContextManager[None]:
        """Run the block, which is ``handle()`` and `finish`, in the scope."""
        return _NO_TRANSACTION

    def finish(self, outcome: Outcome) -> Outcome:
        """Store the end of the job as the last act of its transaction. The outcome says whether
        that settled it. An end that undoes the transaction ends the block.
        """
        return outcome

    def _note_commit(self, alias: str) -> None:
        """Learn of the commit before anything that the job gives to ``on_commit()``, which may
        raise. A transaction around ours (a test's) is not ours to wait for.
        """
        from django.db import transaction

        def has_committed() -> None:
            self.committed = True

        if len(transaction.get_connection(alias).atomic_blocks) == 1:
            transaction.on_commit(has_committed, using=alias)


_NO_TRANSACTION = nullcontext()
_NO_SCOPE = Scope()


class AlreadyDone(LeaseLost):
    """An earlier attempt has committed; only its removal from the queue is missing."""

    def __init__(self, reservation: Reservation, outcome: Outcome | None) -> None:
        """`outcome`: how it ended, where what follows from that may be missing too."""
        super().__init__(f"{reservation.name} {reservation.id} was done by an earlier attempt.")
        self.outcome = outcome


class _UndoError(Exception):
    """Rolls the transaction back for ``fail()``, and goes no further."""


def scope_for(
    wanted: bool | str, reservation: Reservation, connection: str, finish: FinishOfThread | None
) -> Scope:
    """Return the scope that a job's ``atomic`` option asks for."""
    if wanted is False:
        return _NO_SCOPE
    if finish is None:
        return OwnTransaction(
            wanted if isinstance(wanted, str) else settings().connection(connection).database
        )
    alias = database_of(wanted, connection, finish().session)
    return InTransaction(reservation, alias, finish())


class OwnTransaction(Scope):
    """A transaction around a job that is in no queue: it runs at once, for its caller."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @contextmanager
    def around(self) -> Iterator[None]:
        """Commit what the job wrote; roll it back for an exception and for ``fail()``."""
        from django.db import transaction

        with suppress(_UndoError), transaction.atomic(using=self._alias):
            self._note_commit(self._alias)
            yield

    def finish(self, outcome: Outcome) -> Outcome:
        """Undo everything for ``fail()``."""
        if outcome.decision.action is Action.FAIL:
            raise _UndoError
        return outcome


class InTransaction(Scope):
    """A transaction on `alias`, of which the settlement is the last statement."""

    def __init__(self, reservation: Reservation, alias: str, finish: Finisher) -> None:
        self._reservation = reservation
        self._alias = alias
        self._finish = finish
        self._session = session = finish.session
        self._joined = session.joins(alias)
        self._guarded = session.guards(alias)
        self._row: EndRow | None = None
        """Rolled back with the transaction, and removed when the job is too old to come again."""
        self._apart = _apart(alias, reservation)
        if self._apart is not None:
            self._row = self._apart
        elif not self._joined and not self._guarded:
            self._row = EndRow(alias, reservation.id, reservation.payload)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Commit what the job wrote together with its end, or roll both back."""
        from django.db import transaction

        with (
            suppress(_UndoError),
            _immediate(self._alias),
            transaction.atomic(using=self._alias),
        ):
            self._note_commit(self._alias)
            # A second run of the job waits here for this one.
            if self._row is not None and not self._row.write():
                kept = None if self._apart is None else _kept_in(self._apart)
                raise AlreadyDone(self._reservation, kept)
            yield

    def finish(self, outcome: Outcome) -> Outcome:
        """End the job in its own transaction, where its store is in another one by a guard row."""
        if outcome.decision.action is Action.FAIL:
            raise _UndoError
        if self._apart is not None and not outcome.repeats:
            return self._leave(outcome, self._apart)
        over = outcome.decision.action is Action.DONE
        lost = self._finish.within([End(self._reservation, outcome)], self._alias)
        # Last, so that no other process waits for the row while the job runs.
        if self._guarded and not self._session.confirm_end(self._reservation, over=over):
            raise _lost(self._reservation)
        if self._row is not None and not over:
            self._row.take_back()
        if lost:
            raise _lost(self._reservation)
        return outcome._replace(settled=self._joined)

    def _leave(self, outcome: Outcome, row: CommittedRow) -> Outcome:
        """Note how the job ended, if it is still ours; its end is settled and followed later."""
        held = self._reservation
        if self._guarded:
            is_ours = self._session.confirm_end(held, over=False)
        else:
            is_ours = not self._joined or not self._session.extend([held])
        if not is_ours:
            raise _lost(held)
        row.keep(json.dumps([outcome.ending.value, dict(outcome.passed_on)]))
        return outcome


_DONE = Outcome(Ending.RETURNED, DONE)


def _apart(alias: str, reservation: Reservation) -> CommittedRow | None:
    """Return the row of a job whose end is followed in another database than `alias`; None for all
    others.
    """
    if alias == settings().shared_database or not needs_guard(reservation.payload):
        return None
    return CommittedRow(alias, reservation.id, reservation.payload)


def _kept_in(row: CommittedRow) -> Outcome | None:
    text = row.kept()
    if text is None:
        return None
    ending, passed_on = json.loads(text)
    return Outcome(Ending(ending), DONE, passed_on=passed_on)


def committed(alias: str, session: Session, reservation: Reservation) -> Outcome | None:
    """Return the outcome of an atomic job that has committed on `alias` although its process died
    before it could report that, or whose reservation is not ours any more; else None. If its end in
    the store is a part of its transaction the store knows that.
    """
    from django.db import transaction

    if (row := _apart(alias, reservation)) is not None:
        return _kept_in(row)
    if session.joins(alias):
        return None
    if session.guards(alias):
        with transaction.atomic(using=alias):
            return None if session.confirm_end(reservation, over=False) else _DONE
    exists = EndRow(alias, reservation.id, reservation.payload).exists()
    return _DONE if exists else None


def database_of(wanted: bool | str, connection: str, session: Session) -> str:
    """Return the database that an atomic job's transaction is in."""
    if isinstance(wanted, str):
        return wanted
    own = settings().connection(connection)
    return own.database if session.joins(own.database) else "default"


def _lost(reservation: Reservation) -> LeaseLost:
    return in_own_words(
        LeaseLost(
            f"{reservation.name} {reservation.id} was taken over or deleted while it ran; what it"
            " wrote in its transaction was rolled back."
        )
    )


@contextmanager
def _immediate(alias: str) -> Iterator[None]:
    """Take the write lock at BEGIN on SQLite: a transaction that has read cannot take it later once
    another connection has written.
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
