"""What a driver's tests stand on: drivers that are closed again, jobs to push, and patience."""

from __future__ import annotations

import threading
import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest import SkipTest, TestCase

from djqueue.drivers.base import OutgoingJob, Settlement, Verdict, WorkerIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from djqueue.drivers.base import (
        Capabilities,
        Driver,
        Feature,
        Inspector,
        Reservation,
        Session,
        State,
        StoredJob,
    )


class ContractSetup:
    """The knobs of `DriverContract`, and the few verbs its tests are written in.

    Works with pytest as it is, and with `unittest.TestCase` as a further base class.
    """

    lease: float = 1.5
    """Seconds that a reservation of these tests holds without a sign of life."""
    patience: float = 5.0
    """Seconds within which the store hands out a job that it has."""
    any_bytes: bool = True
    """The store gives back NUL and bytes that are no UTF-8; False where it keeps text only."""
    crowd: int = 400
    """How many jobs two drivers at once share."""

    # -- for authors of drivers -----------------------------------------------------------------

    def make_driver(self) -> Driver:
        """A new driver of the connection under test. Called several times in a test.

        `recover` looks at all that a connection holds: no other test's jobs may be there.
        """
        raise NotImplementedError(f"{type(self).__name__}.make_driver() is yours to write.")

    def make_queue(self) -> str:
        """A new name for a queue, so that no test needs an empty store."""
        return f"contract-{uuid.uuid4().hex[:12]}"

    def wait(self, seconds: float) -> None:
        """Let time pass for the store."""
        time.sleep(seconds)

    def kill_lease(self) -> None:
        """Let the leases of all drivers run out that have given no sign of life meanwhile."""
        self.wait(self.lease + 0.3)

    # -- drivers --------------------------------------------------------------------------------

    @cached_property
    def queue(self) -> str:
        """The queue of this test."""
        return self.make_queue()

    @cached_property
    def pusher(self) -> Driver:
        """A driver that only pushes and looks, as in a web process."""
        return self.open()

    @cached_property
    def inspector(self) -> Inspector:
        """What `pusher` looks through."""
        return self.pusher.inspector()

    @cached_property
    def driver(self) -> Driver:
        """The driver of a worker."""
        return self.open()

    @cached_property
    def session(self) -> Session:
        """The session of that worker."""
        return self.join(self.driver, "worker")

    @cached_property
    def other(self) -> Session:
        """The session of another worker."""
        return self.join(self.open(), "other")

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self.pusher.capabilities

    def join(self, driver: Driver, name: str) -> Session:
        """The session of a worker `name`, which the store knows now."""
        worker = WorkerIdentity(name, "host", 4711, (self.queue,), self.lease)
        session = driver.session(worker)
        session.join()
        return session

    def open(self) -> Driver:
        """A new driver, closed when the test ends."""
        driver = self.make_driver()
        if isinstance(self, TestCase):
            self.addCleanup(driver.close)
        else:
            self.__dict__.setdefault("_drivers", []).append(driver)
        return driver

    def teardown_method(self) -> None:
        """Close the drivers of a test; called by pytest."""
        for driver in self.__dict__.pop("_drivers", []):
            driver.close()

    # -- jobs -----------------------------------------------------------------------------------

    def job(self, **values: Any) -> OutgoingJob:
        """A job of this test's queue."""
        id = values.pop("id", None) or str(uuid.uuid4())
        payload = values.pop("payload", f'{{"v":1,"name":"shop.Pack","id":"{id}"}}')
        return OutgoingJob(
            id, values.pop("queue", self.queue), values.pop("name", "shop.Pack"), payload, **values
        )

    def push(self, count: int = 1, **values: Any) -> list[str]:
        """Push `count` jobs one after another; their ids."""
        jobs = [self.job(**values) for _ in range(count)]
        for job in jobs:
            self.pusher.push([job])
        return [job.id for job in jobs]

    def push_elsewhere(self) -> None:
        """Push a job as another process would: with a driver in a thread of its own."""

        def push() -> None:
            driver = self.make_driver()
            driver.push([self.job()])
            driver.close()

        thread = threading.Thread(target=push)
        thread.start()
        thread.join()

    def reserve(
        self, limit: int = 1, session: Session | None = None, queues: Sequence[str] | None = None
    ) -> list[Reservation]:
        """`limit` reservations; fewer only if the store has no more to give within `patience`."""
        session = session or self.session
        found: list[Reservation] = []

        def enough() -> bool:
            session.promote(queues or [self.queue])
            found.extend(session.exchange([], queues or [self.queue], limit - len(found))[1])
            return len(found) >= limit

        self.until(enough)
        return found

    def nothing_is_left(self, session: Session | None = None) -> bool:
        """Whether a worker finds nothing to reserve now."""
        session = session or self.session
        session.promote([self.queue])
        return session.exchange([], [self.queue], 10).reservations == []

    def settle(
        self, reservation: Reservation, verdict: Verdict = Verdict.REMOVE, **values: Any
    ) -> set[str]:
        """Settle one reservation with the first worker's session; what was lost."""
        return self.session.settle([Settlement(reservation, verdict, **values)])

    def stored(self, id: str) -> StoredJob:
        """What the store says about a job."""
        (found,) = self.inspector.find([id])
        return found

    def peeked(self, state: State) -> list[str]:
        """The ids of the jobs in `state`, in the order that the store tells them."""
        return [job.id for job in self.inspector.peek(self.queue, state, 100)]

    def ids(self, reservations: Sequence[Reservation]) -> list[str]:
        """Their jobs' ids."""
        return [reservation.id for reservation in reservations]

    # -- patience, and what a store cannot do ---------------------------------------------------

    def until(self, true: Callable[[], bool], seconds: float | None = None) -> bool:
        """Ask until it is true, for `patience` seconds at most. Return whether it became true."""
        deadline = time.monotonic() + (self.patience if seconds is None else seconds)
        while not true():
            if time.monotonic() > deadline:
                return False
            self.wait(0.02)
        return True

    def needs(self, *features: Feature) -> None:
        """Skip the test where the store cannot do that; the reason is the store's own."""
        for feature in features:
            if reason := self.capabilities.why_not(feature):
                raise SkipTest(f"{feature}: {reason}")
