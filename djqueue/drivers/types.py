"""What goes in and out of drivers: values, and the two things that a worker waits for."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from djqueue.errors import QueueUnavailable

FOREIGN = "(foreign)"
"""The name of a reservation whose body another program has put into the store: no job of ours can
be called like that."""


class State(str, enum.Enum):
    """Where a stored job stands."""

    WAITING = "waiting"
    DELAYED = "delayed"
    RESERVED = "reserved"
    STUCK = "stuck"

    def __str__(self) -> str:
        return self.value


class UniqueKey(NamedTuple):
    """What one job has at a time."""

    key: str
    """At most `LONGEST_KEY` printable ASCII characters."""
    seconds: float | None = None
    """After these another push takes the key over; None: only when this job has ended."""


LONGEST_KEY = 200


class OutgoingJob(NamedTuple):
    """What is pushed."""

    id: str
    """The dispatch's uuid. Pushing an id that the store holds already changes nothing where the
    store can tell (see `Feature`)."""
    queue: str
    name: str
    payload: str
    delay: float = 0.0
    """Seconds from now, by the store's clock, before the job may be reserved."""
    priority: int = 0
    """-100 to 100; a larger one is reserved first, where the store has priorities."""
    message_group: str | None = None
    deduplication_id: str | None = None
    push_id: str = ""
    """Names one push of the job over its repetitions: the same push twice is one job, another push
    (a retry of a failed job) is another run of it. Empty for the first push of all."""
    unique: UniqueKey | None = None
    """For `Driver.push_unique`: the job is not stored while another one has the key."""
    batch: str = ""
    """The batch that the job is a member of, unless it is retried: while it waits in SQL,
    cancelling the batch removes it."""

    @property
    def push_name(self) -> str:
        """The text that distinguishes this push from every other one, of this job and of others."""
        return self.push_id or self.id


class OutboxRow(NamedTuple):
    """A row of the outbox that is to be written."""

    connection: str
    """That of the store that is to get the job."""
    job: OutgoingJob
    """It is due there when its delay ends."""
    parked: bool = False
    """As `Outbox.parked`, as are those that follow."""
    reservation: int = 0
    taken_by: str = ""
    hold: float | None = None
    """Seconds for which only `taken_by` may push the job."""
    chain: str | None = None
    """With one the job waits for its turn, and is not due."""
    position: int = 0
    delay: float = 0.0
    debounced: bool = False


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
    """It has ended (done, failed or deleted)."""
    RELEASE = 1
    """It goes back to its queue, after `Settlement.delay`, behind those that wait."""
    RETURN = 2
    """It was never begun: it goes back as if it had not been reserved. Its place and its attempt
    number are as before."""
    INTERRUPTED = 3
    """Its end is unknown: as RETURN, with one more interruption recorded."""


# For what is asked once a job: Python 3.11 takes 0.2 µs to find a member of an enum.
REMOVE = Verdict.REMOVE


class Settlement(NamedTuple):
    """A verdict about one reservation."""

    reservation: Reservation
    verdict: Verdict = REMOVE
    delay: float = 0.0
    """RELEASE only: seconds until it may be reserved again."""
    charged: bool = True
    """RELEASE only: False leaves the attempt number as it was before this reservation."""
    history: str | None = None
    """RELEASE and INTERRUPTED: the text to hand out as `Reservation.history` from now on;
    None leaves it."""


class Exchange(NamedTuple):
    """The answer of `Session.exchange`."""

    lost: set[str]
    """Ids of settlements that changed nothing, because the reservation was no longer ours."""
    reservations: list[Reservation]


class Promotion(NamedTuple):
    """The answer of `Session.promote`."""

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


class Census(NamedTuple):
    """What a queue holds, and what is wrong with it."""

    counts: QueueCounts
    stuck: int
    """Reserved jobs whose worker is gone. 0 where the store cannot tell."""


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
    reservation: str = ""
    """Names the reservation that holds the job: the next one has another name. Empty where nothing
    holds it, or where the store has no such names."""
    history: str = ""
    """As `Reservation.history`."""
    read_at: datetime | None = None
    """When all this was so, by the store's clock; None where that is not known."""
    key: str = ""
    """What `Inspector.find` and `Inspector.change` take for the job, where a store cannot find it
    by its id alone; empty where it can."""


class Change(enum.Enum):
    """What operators do to stored jobs one by one."""

    DELETE = "delete"
    """Waiting, delayed and stuck ones go."""
    DELETE_RUNNING = "delete running"
    """Reserved and stuck ones go: the worker loses its reservation, and its outcome is ignored."""
    RELEASE = "release"
    """Stuck ones go back to waiting, with one interruption more on record."""
    RUN_NOW = "run now"
    """Delayed ones become due."""


class Placement(NamedTuple):
    """Where and when a waiting or delayed job is to run from now on. None leaves it as it is."""

    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    """Seconds from now, by the store's clock."""


class WorkerIdentity(NamedTuple):
    """Who reserves. Made again at each start of a worker, and after a lease was lost."""

    name: str
    """As in ``--name``, or ``host:pid``."""
    hostname: str
    pid: int
    queues: tuple[str, ...]
    lease: float
    """Seconds without a sign of life after which others take over what it held."""


Feature = Literal[
    "ordered",
    "priorities",
    "peek",
    "remove",
    "find",
    "exact_counts",
    "idempotent_push",
    "fenced",
    "workers",
]
"""What a store may be unable to do.

``ordered``: jobs of a queue are reserved in the order that is promised to users.
``fenced``: reservations have fencing numbers, and their attempts, interruptions and history are
kept beside the payload; a driver of a store that cannot keeps guard rows in SQL. ``workers``:
workers can run jobs of this connection. ``peek``, ``remove``, ``find``: as the methods of
`Inspector`.
"""


@dataclass(frozen=True)
class Capabilities:
    """What a store can do, for the code that has to take its limits into account."""

    cannot: Mapping[Feature, str] = field(default_factory=dict, hash=False)
    """Why it cannot do something, for an operator to read. What is not in here it can do."""
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

    @property
    def keeps_jobs(self) -> bool:
        """Whether a job that was pushed stays until a worker takes it."""
        return not (self.inline or self.discards)

    def why_not(self, feature: Feature) -> str | None:
        """Return the reason why the store cannot do that, for an operator to read; None if it
        can.
        """
        return self.cannot.get(feature)


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
        """Return a descriptor that becomes readable, or None: then `arrived` is polled."""
        return None

    @abstractmethod
    def arrived(self) -> bool:
        """Return whether something may have arrived since the last call. Never blocks."""

    def set_idle(self, idle: bool) -> None:
        """Tell pushers whether this worker is idle and should be woken."""

    def close(self) -> None:
        """Stop listening."""


class Answer(ABC):
    """The answer to an exchange that `Session.begin` has sent. Nothing else may be asked of the
    session, nor of what it shares its connection with, before it is taken.
    """

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor that becomes readable when some of the answer has arrived."""

    @abstractmethod
    def is_there(self) -> bool:
        """Return whether `take` does not wait. Never blocks. Raises `QueueUnavailable` if the
        answer is lost.
        """

    @abstractmethod
    def take(self) -> Exchange:
        """Return or raise what `exchange` would have returned or raised. Called once."""
