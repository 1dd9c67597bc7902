"""The driver contract: text in, text out.

A driver keeps opaque payloads in a store and hands each to one worker at a time. It has never
heard of a job class. Times that callers pass are durations in seconds; the clock is the store's.
Every write about a reserved job is conditional on the reservation's fencing number (kept in
`Reservation.handle`); a write that finds another number changes nothing and reports the id as lost.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from djqueue.errors import QueueUnavailable, Unsupported

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings

FOREIGN = "(foreign)"
"""The name of a reservation whose body another program has put into the store: no job of ours can
be called like that."""
SEARCH_PAGE = 500
"""Jobs that `Driver.search` looks at in one go."""


class State(str, enum.Enum):
    """Where a stored job stands."""

    WAITING = "waiting"
    DELAYED = "delayed"
    RESERVED = "reserved"
    STUCK = "stuck"

    def __str__(self) -> str:
        return self.value


class OutgoingJob(NamedTuple):
    """What is pushed."""

    id: str
    """The dispatch's uuid. Pushing an id that the store holds already changes nothing where the
    store can tell (see `Capabilities.idempotent_push`)."""
    queue: str
    name: str
    payload: str
    delay: float = 0.0
    """Seconds from now, by the store's clock, before the job may be reserved."""
    priority: int = 0
    """-100 to 100; a larger one is reserved first, where `Capabilities.priorities`."""
    message_group: str | None = None
    deduplication_id: str | None = None
    push_id: str = ""
    """Names one push of the job over its repetitions: the same push twice is one job, another push
    (a retry of a failed job) is another run of it. Empty for the first push of all."""

    @property
    def push_name(self) -> str:
        """What tells this push from every other one, of this job and of others."""
        return self.push_id or self.id


class Reservation(NamedTuple):
    """A job that a worker holds for a while."""

    id: str
    queue: str
    name: str
    payload: str
    """Exactly as pushed; bytes that are no UTF-8 come as surrogate escapes."""
    attempt: int
    """The number of the attempt that begins with this reservation, from 1."""
    interruptions: int
    history: str
    """What `Settlement.history` last stored for this job; empty at first."""
    handle: Any
    """The driver's own: row and fencing number, receipt, socket's job id. Opaque to callers, and
    made of text, bytes, numbers, None and tuples, since it travels between processes."""


class Verdict(enum.IntEnum):
    """What becomes of a reserved job in the store."""

    REMOVE = 0
    """It is over (done, failed or deleted)."""
    RELEASE = 1
    """It goes back to its queue, after `Settlement.delay`, behind those that wait."""
    RETURN = 2
    """It was never begun: it goes back as if it had not been reserved. Its place and its attempt
    number are as before."""
    INTERRUPTED = 3
    """Nobody saw its end: as RETURN, with one interruption more on record."""


class Settlement(NamedTuple):
    """A verdict about one reservation."""

    reservation: Reservation
    verdict: Verdict = Verdict.REMOVE
    delay: float = 0.0
    """RELEASE only: seconds until it may be reserved again."""
    charged: bool = True
    """RELEASE only: False leaves the attempt number as it was before this reservation."""
    history: str | None = None
    """RELEASE and INTERRUPTED: the text to hand out as `Reservation.history` from now on;
    None leaves it."""


class Exchange(NamedTuple):
    """The answer of `Driver.exchange`."""

    lost: set[str]
    """Ids of settlements that changed nothing, because the reservation was no longer ours."""
    reservations: list[Reservation]


class Promotion(NamedTuple):
    """The answer of `Driver.promote`."""

    moved: int
    """Jobs that may be reserved from now on."""
    due_in: float | None
    """Seconds until the next delayed job is due (0: at once), or None if there is none."""


class QueueCounts(NamedTuple):
    """How many jobs a queue holds. None where the store cannot tell."""

    waiting: int | None
    delayed: int | None
    reserved: int | None
    oldest_at: datetime | None = None
    """When the waiting job that waits longest became available (aware)."""


class StoredJob(NamedTuple):
    """A job as an operator sees it."""

    id: str
    queue: str
    name: str
    payload: str
    state: State
    attempts: int
    interruptions: int
    priority: int
    created_at: datetime | None
    available_at: datetime | None
    reserved_at: datetime | None
    reserved_until: datetime | None
    worker: str | None
    """The name of the worker that holds it."""


class WorkerIdentity(NamedTuple):
    """Who reserves. Made anew at each start of a worker, and after a lease was lost."""

    name: str
    """As in ``--name``, or ``host:pid``."""
    hostname: str
    pid: int
    queues: tuple[str, ...]
    lease: float
    """Seconds without a sign of life after which others take over what it held."""


@dataclass(frozen=True)
class Capabilities:
    """What a store can do. A text is the reason why it cannot, for an operator to read."""

    ordered: bool | str = True
    """Jobs of a queue are reserved in the order that is promised to users."""
    priorities: bool | str = True
    peek: bool | str = True
    remove: bool | str = True
    find: bool | str = True
    exact_counts: bool | str = True
    idempotent_push: bool | str = True
    fenced: bool | str = True
    """Reservations have fencing numbers, and their attempts, interruptions and history are kept
    beside the payload. Where not, guard rows in SQL do both."""
    max_delay: float | None = None
    max_wait: float | None = None
    """Seconds for which a job may wait to be begun in a store that cannot `find` it, as far as what
    is kept for it elsewhere is concerned. None: no longer than ``PRUNE_AFTER["PAYLOADS"]``."""
    max_payload: int | None = None
    tagged_queues: bool = False
    """The name of a queue may hold one ``{tag}``."""
    inline: bool = False
    """Jobs run at once, in the process that pushes."""
    after_response: bool = False
    """With `inline`: not at once, but after the response of the request that pushes."""
    discards: bool = False
    """Jobs are thrown away."""
    workers: bool | str = True
    """Workers can run jobs of this connection."""


class RunHere(QueueUnavailable):
    """Raised by `Driver.push`: no store took the jobs, and `connection` is to run them at once; but
    for those that are `stored` somewhere.
    """

    def __init__(self, text: str, connection: str, stored: Iterable[str] = ()) -> None:
        super().__init__(text, stored=stored)
        self.connection = connection


class Wakeup(ABC):
    """Tells an idle worker that something may have arrived. A hint: polling alone is correct."""

    look_again: float = float("inf")
    """When (monotonic) `arrived` is to be called, if the descriptor is not readable sooner."""

    def fileno(self) -> int | None:
        """A descriptor that becomes readable, or None: then `arrived` is polled."""
        return None

    @abstractmethod
    def arrived(self) -> bool:
        """Whether something may be there since the last call. Never blocks."""

    def set_idle(self, idle: bool) -> None:
        """Whether the worker has room for jobs and waits for one: pushers need to wake no other."""

    def close(self) -> None:
        """Stop listening."""


class Answer(ABC):
    """The answer to an exchange that `Driver.begin` has sent. Nothing else may be asked of the
    driver, nor of what it shares its connection with, before it is taken.
    """

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that becomes readable when some of it is there."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether `take` does not wait. Never blocks; `QueueUnavailable` if the answer is lost."""

    @abstractmethod
    def take(self) -> Exchange:
        """What `exchange` would have returned or raised. Called once."""


class Driver(ABC):
    """A store of payloads. One instance belongs to one thread; nothing here blocks for long.

    Client libraries are imported inside the driver only. Errors of the client library that mean
    "the store cannot be reached" leave as `QueueUnavailable` with the original as ``__cause__``.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {}
    """Setting keys of this driver's own, with their defaults; any other key is a check error."""
    in_database: ClassVar[bool] = False
    """Whether its jobs are rows of `djqueue.models.QueuedJob`, in the database that the key
    DATABASE names, and on the admin's list."""
    FLUSH_AFTER: ClassVar[float] = 0.005
    """Seconds that the end of a job may wait to be stored together with others. Those ends are what
    a worker that is killed makes run again, beside the jobs that were running."""
    capabilities: Capabilities = Capabilities()
    """The class's, as checks and listings ask for it; a driver made of others narrows its own."""
    patience: float | None = None
    """Seconds that a call to the store may wait before it is `QueueUnavailable`; None: as the
    connection's settings say. A worker sets it: an eighth of its lease, and less while it stops."""
    PARKS: ClassVar[bool] = False
    """Jobs that this store cannot keep until they are due wait in `djqueue_outbox`: `parks` says
    which. Workers of such a connection look there."""
    shows_workers: ClassVar[bool] = False
    """It keeps a row of `djqueue_workers` for each of its workers. For other stores the worker does
    itself, so that operators see it."""
    members: Sequence[str] = ()
    """The connections that keep the jobs in this one's place, where it passes them on: workers run
    for those, and that is where operators find them."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings.with_defaults(self.OPTIONS)

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        """System check messages about this connection's settings; reaches no server."""
        return []

    # -- dispatching ---------------------------------------------------------------------------

    @abstractmethod
    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        """Store `jobs` in order. On return they are durable, or in the caller's transaction.

        Raises `QueueUnavailable`, whose `stored` are the ids of the jobs that are in the store all
        the same, and whose `refused` those that it will never take.
        """

    def parks(self, job: OutgoingJob) -> bool:
        """Whether `push` would keep `job` in `djqueue_outbox` until it is due."""
        return False

    # -- working -------------------------------------------------------------------------------

    def join(self, worker: WorkerIdentity) -> None:
        """`worker` will reserve through this instance. Called before the first `exchange`."""

    def leave(self) -> None:
        """The worker is about to end and holds nothing any more."""

    @abstractmethod
    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        """Settle, then reserve up to `limit` jobs, queues asked strictly in order. The hot path."""

    def begin(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Answer | None:
        """Send an `exchange` and return before its answer is there, so that a worker can see to
        its children meanwhile. None, and nothing was sent, where it has to be waited for, or
        nothing is to be done: then `exchange` is called.
        """
        return None

    def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """Settle alone; the ids that were lost. Joins an open transaction of its alias."""
        return self.exchange(settlements, (), 0).lost

    @abstractmethod
    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """The sign of life, for the worker and what it holds; the ids that are lost."""

    def lost_hold(self) -> bool:
        """Whether a connection has closed since the last call, and what it held went with it: other
        workers may be given those jobs at once, and what runs of them here has to end.
        """
        return False

    def fence(self, reservation: Reservation) -> int:
        """The fencing number of `reservation`. Of two reservations of one job the later one has the
        larger number; 0 where a store has no such numbers.
        """
        return 0

    def promote(self, queues: Sequence[str]) -> Promotion:
        """Put in line what has become due, a bounded slice a call."""
        return Promotion(0, None)

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        """Take over up to `limit` reservations whose worker is gone. They are the caller's now,
        under a new fencing number, to be settled as INTERRUPTED or, when too many, REMOVE. With
        `late` only those of workers whose lease has been over for so many seconds.
        """
        return []

    @property
    def has_orphans(self) -> bool:
        """Whether `exchange` has come upon jobs whose worker is gone, which the store had given
        back by itself. They wait in `recover`, and nobody has to judge whether they may be taken.
        """
        return False

    def strays(self, known: Sequence[Reservation]) -> list[Reservation]:
        """Reservations of this worker that are not among `known`: the store gave them in an answer
        that never arrived. Asked after a connection broke.
        """
        return []

    @property
    def window(self) -> int:
        """The most jobs a child is handed at a time: the key WINDOW, of drivers that have it."""
        return int(self.settings.options.get("WINDOW", 100))

    def remarks(self) -> list[str]:
        """What a worker's banner should say about this store."""
        return []

    @property
    def lease(self) -> float:
        """Seconds that a reservation lasts after a sign of life."""
        return self.settings.retry_after

    def watch(self, queues: Sequence[str]) -> Wakeup | None:
        """Something that tells of new jobs in `queues`, or None: poll. After a None it is asked
        again now and then, and should not take long.
        """
        return None

    # -- inspecting ----------------------------------------------------------------------------

    @abstractmethod
    def counts(self, queue: str) -> QueueCounts: ...

    def queues(self) -> list[str]:
        """Names of the queues that hold something, sorted; the configured one where unknown."""
        return [self.settings.queue]

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        """Jobs of `queue` in `state`, next to run first; `after` is the id of the last one seen."""
        raise Unsupported(self._reason("peek"))

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """The stored jobs among `ids`."""
        raise Unsupported(self._reason("find"))

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        """Up to `limit` stored jobs whose id begins or ends with `part`: lower-case hexadecimal
        digits without hyphens. Looks at every job here; a store that can do better should.
        """
        found: list[StoredJob] = []
        for queue in self.queues():
            for state in State:
                after = None
                while len(found) < limit:
                    page = self.peek(queue, state, SEARCH_PAGE, after)
                    pairs = ((job, job.id.replace("-", "")) for job in page)
                    found += [job for job, x in pairs if x.startswith(part) or x.endswith(part)]
                    if len(page) < SEARCH_PAGE:
                        break
                    after = page[-1].id
        # A stuck job is among the reserved ones too where a store cannot tell them apart.
        return list({job.id: job for job in found}.values())[:limit]

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        """Delete waiting, delayed and stuck ones among `ids`; how many. With `even_running` the
        reserved ones too: their worker loses the reservation, and its outcome is ignored.
        """
        raise Unsupported(self._reason("remove"))

    def cancel(self, id: str, *, unseen: bool) -> bool:
        """Where a store cannot find one job: put on record that it is not to be run, and that the
        outcome of a worker that runs it is ignored. Whether that is on record; False for a job that
        is over, and for one that no worker has ever begun, unless it is to be so although `unseen`.
        """
        raise Unsupported(self._reason("remove"))

    def release(self, queue: str, ids: Sequence[str]) -> int:
        """Stuck ones among `ids` back to waiting, one interruption more on record; how many."""
        raise Unsupported(self._reason("remove"))

    def hasten(self, queue: str) -> int:
        """Make every delayed job of `queue` due at once; how many. Tests do not wait."""
        raise Unsupported(
            f'Connection "{self.settings.name}" cannot run delayed jobs before their time: its '
            "driver has no way to. Dispatch them without a delay."
        )

    @abstractmethod
    def clear(self, queue: str) -> int:
        """Delete what waits or is delayed, never what runs; how many."""

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """In the parent: put away what cannot cross a fork. What can is kept."""

    def after_fork_in_child(self) -> None:
        """In the child: make every inherited descriptor harmless, so that no close, goodbye or
        finaliser of the child reaches the parent's connection.
        """

    def broke(self, error: QueueUnavailable) -> None:
        """Give up the connection that `error` of a call is about; the next call opens it again."""
        self.close()

    # -- transactions --------------------------------------------------------------------------

    def shares_transaction_with(self, alias: str) -> bool:
        """Whether `settle` inside ``atomic(using=alias)`` commits with it."""
        return False

    def guards(self, alias: str) -> bool:
        """Whether this driver keeps guard rows in the database `alias`, so that `mark` works."""
        return False

    def mark(self, reservation: Reservation, *, over: bool) -> bool:
        """Inside a transaction on the alias that `guards` is true for: make sure that the job is
        ours until the transaction ends, and with `over` that it never runs again once that has
        committed. False: it is not ours any more, or over already; marking it over twice is once.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close connections; the next call opens them again."""

    def _reason(self, capability: str) -> str:
        reason = getattr(self.capabilities, capability)
        what = {"peek": "list its jobs", "find": "look up a job by id", "remove": "delete one job"}
        return (
            f'Connection "{self.settings.name}" cannot {what[capability]}: '
            f"{reason if isinstance(reason, str) else 'its driver does not support it.'}"
        )
