"""The driver contract: text in, text out, in three faces.

A driver keeps opaque payloads in a store and hands each to one worker at a time. It has never
heard of a job class. Dispatchers use a `Driver`, a worker its `Session`, an operator an
`Inspector`: one connection to the store, and three sets of verbs.

Times that callers pass are durations in seconds; the clock is the store's. Every write about a
reserved job is conditional on the reservation's fencing number (kept in `Reservation.handle`); a
write that finds another number changes nothing and reports the id as lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from djqueue.drivers.inspector import Inspector
from djqueue.drivers.types import (
    FOREIGN,
    REMOVE,
    Answer,
    Capabilities,
    Change,
    Exchange,
    Feature,
    OutgoingJob,
    Promotion,
    QueueCounts,
    Reservation,
    RunHere,
    Settlement,
    State,
    StoredJob,
    Verdict,
    Wakeup,
    WorkerIdentity,
)
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings
    from djqueue.conf.kinds import Option

__all__ = ["FOREIGN", "REMOVE", "Answer", "Capabilities", "Change", "Driver"]
__all__ += ["Exchange", "Feature", "Inspector", "OutgoingJob", "Promotion", "QueueCounts"]
__all__ += ["Reservation", "RunHere", "Session", "Settlement", "State", "StoredJob", "Verdict"]
__all__ += ["Wakeup", "WorkerIdentity"]


class Session(ABC):
    """What a worker asks of the store, between `join` and `leave`."""

    def join(self) -> None:
        """Make the worker known to the store, before its first `exchange`."""

    @property
    def row(self) -> int | None:
        """The key of the worker's row in `djqueue_workers`, where the session writes it."""
        return None

    @property
    @abstractmethod
    def lease(self) -> float:
        """Seconds that a reservation lasts after a renewal. May change with an exchange."""

    @abstractmethod
    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        """Settle, then reserve up to `limit` jobs. Queues are asked strictly in order. This is the
        hot path.
        """

    def begin(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Answer | None:
        """Send an `exchange` and return before its answer arrives, so that a worker can look after
        its children meanwhile. Return None, having sent nothing, if the answer has to be waited
        for, or if nothing is to be done: then `exchange` is called.
        """
        return None

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """Settle alone. Return the ids that were lost. Joins an open transaction of its alias."""
        return self.exchange(settlements, (), 0).lost

    @abstractmethod
    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """Renew the lease of the worker and of what it holds. Return the ids that are lost."""

    def lost_hold(self) -> bool:
        """Return whether a connection has closed since the last call and its jobs are no longer
        held: other workers may be given them at once, and attempts that run here have to end.
        """
        return False

    def gone(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` whose job the store no longer has, as far as it can tell."""
        return set()

    def fence(self, reservation: Reservation) -> int:
        """Return the fencing number of `reservation`. Of two reservations of one job the later one
        has the larger number; 0 if a store has no such numbers.
        """
        return 0

    def promote(self, queues: Sequence[str]) -> Promotion:
        """Put jobs in line that have become due, a bounded slice in each call."""
        return Promotion(0, None)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        """Take over up to `limit` reservations whose worker is gone. They are the caller's now,
        under a new fencing number, to be settled as INTERRUPTED or, when too many, REMOVE. With
        `late` only those of workers whose lease expired this many seconds ago.
        """
        return []

    @property
    def has_orphans(self) -> bool:
        """Whether `exchange` has found jobs whose worker is gone, which the store had given back by
        itself. They wait in `recover`; any worker may take them.
        """
        return False

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """Return reservations of this worker that are not among `known`: the store gave them in an
        answer that never arrived. Called after a connection broke.
        """
        return []

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        """Return an object that tells of new jobs in `queues`, or None if the worker has to poll.
        After None it is called again now and then, and should not take long.
        """
        return None

    def joins(self, alias: str) -> bool:
        """Return whether `settle` inside ``atomic(using=alias)`` commits with it."""
        return False

    def guards(self, alias: str) -> bool:
        """Return whether guard rows are kept in the database `alias`: `confirm_end` works there."""
        return False

    def confirm_end(self, reservation: Reservation, *, over: bool) -> bool:
        """Make sure, inside a transaction on an alias for which `guards` is true, that the job is
        ours until the transaction ends, and with `over` that it never runs again once that has
        committed. Return False if it is not ours any more, or has ended already: what follows from
        an end is written once.
        """
        raise NotImplementedError

    def free_key(self, id: str, queue: str, key: str) -> None:
        """Let other jobs have the unique key of job `id`."""
        raise NotImplementedError

    @abstractmethod
    def reset_connection(self, error: QueueUnavailable) -> None:
        """Close the connection that `error` of a call is about; the next call opens it again."""

    def leave(self) -> None:
        """End the worker, which holds nothing any more."""


class Driver(ABC):
    """A store of payloads, as dispatchers see it. One instance belongs to one thread; nothing here
    blocks for long.

    Client libraries are imported inside the driver only. Errors of the client library that mean
    "the store cannot be reached" leave as `QueueUnavailable` with the original as ``__cause__``.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {}
    """Setting keys of this driver's own, with their defaults and kinds. Any other key, and a value
    of another kind, is a check error."""
    jobs_in_sql: ClassVar[bool] = False
    """Whether its jobs are rows of `djqueue.models.QueuedJob`, in the database that the key
    DATABASE names, and on the admin's list."""
    parks: ClassVar[bool] = False
    """Jobs that this store cannot keep until they are due wait in `djqueue_outbox`; `would_park`
    says which. Workers of such a connection look there."""
    passes_on: ClassVar[bool] = False
    """It keeps no jobs itself: its `members` do."""
    shows_workers: ClassVar[bool] = False
    """It keeps the rows of its workers in `djqueue_workers`. For other stores the worker does."""
    keeps_keys: ClassVar[bool] = False
    """Whether it has `push_unique`, and its sessions `free_key`."""
    FLUSH_AFTER: ClassVar[float] = 0.005
    """Seconds that the end of a job may wait to be stored together with others. Those ends are what
    a worker that is killed makes run again, beside the jobs that were running."""
    capabilities: Capabilities = Capabilities()
    """The class's, as checks and listings ask for it; a driver made of others narrows its own."""
    patience: float | None = None
    """Seconds that a call to the store may wait before it is `QueueUnavailable`; None: as the
    connection's settings say. A worker sets it: an eighth of its lease, and less while it stops.
    It holds for the driver's session and inspector too."""
    members: Sequence[str] = ()
    """The connections that keep the jobs in this one's place, where it passes them on: workers run
    for those, and that is where operators find them."""

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Let no call in the block wait longer than `seconds`."""
        before = self.patience
        self.patience = seconds if before is None else min(before, seconds)
        try:
            yield
        finally:
            self.patience = before

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings.with_defaults(self.OPTIONS)

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        """Return system check messages about this connection's settings, without asking a server.
        The keys of `OPTIONS` are of their kinds.
        """
        return []

    @abstractmethod
    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Store `jobs` in order. On return they are durable, or in the caller's transaction.

        Raises `QueueUnavailable`, whose `stored` are the ids of the jobs that are in the store all
        the same, and whose `refused` those that it will never take.
        """

    def push_unique(self, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
        """Push jobs that have keys: see `djqueue.drivers.unique_keys.Keys.push`."""
        raise NotImplementedError

    def would_park(self, job: OutgoingJob) -> bool:
        """Return whether `push` would keep `job` in `djqueue_outbox` until it is due."""
        return False

    @abstractmethod
    def session(self, worker: WorkerIdentity | None = None) -> Session:
        """Return the session through which `worker` reserves and settles, without asking a server.
        A driver has one session. Without a worker it is the session of a process that other workers
        cannot find dead: of a child that settles its own job, and of a test that works off a queue.
        """

    @abstractmethod
    def inspector(self) -> Inspector:
        """Return the face for operators."""

    @property
    def lease(self) -> float:
        """Seconds that a reservation lasts at first: the lease of a worker that begins here."""
        return self.settings.retry_after

    @property
    def window(self) -> int:
        """The most jobs that a child is given at a time: the key WINDOW, where drivers have it."""
        given = self.settings.options.get("WINDOW")
        usual = self.OPTIONS["WINDOW"].default if "WINDOW" in self.OPTIONS else 100
        return int(usual if given is None else given)

    def shares_transaction_with(self, alias: str) -> bool:
        """Return whether `push` inside ``atomic(using=alias)`` commits with it."""
        return False

    def close(self) -> None:
        """Close connections, of its session and inspector too; the next call opens them again."""
