"""A connection that is made of others.

It keeps nothing itself. Each try has the same ids, so a store that has a job already knows it, but
two stores know nothing of each other: where one broke off between a request and its answer
(`QueueUnavailable.ambiguous`), a job may be in both and run twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.core import checks

from djqueue.drivers.base import (
    Capabilities,
    Driver,
    Exchange,
    OutgoingJob,
    QueueCounts,
    Reservation,
    Settlement,
    State,
    StoredJob,
)
from djqueue.drivers.failover.members import make_members, together, who_works
from djqueue.drivers.failover.switch import Switch
from djqueue.errors import QueueUnavailable, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django.core.checks import CheckMessage

    from djqueue.conf import ConnectionSettings


class FailoverDriver(Driver):
    """Pushes to the first member that takes the jobs; shows what all of them hold.

    Workers run for the members. A member that runs jobs at once (``sync``, ``deferred``) is the
    last resort, for when no store can be reached.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "CONNECTIONS": (),
        "PROBE_AFTER": 5.0,
        "FAIL_OVER_IF_UNSURE": True,
    }
    capabilities = Capabilities({"workers": "Workers run for its members."})

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        members = make_members(settings, FailoverDriver)
        inline = [each.settings.name for each in members if each.capabilities.inline]
        self._stores = [each for each in members if not each.capabilities.inline]
        self._patience: float | None = None
        self.members = tuple(store.settings.name for store in self._stores)
        self.capabilities = together(self._stores, who_works(settings, self._stores))
        self._switch = Switch(
            settings.name,
            self._stores,
            inline[0] if inline else None,
            sender=type(self),
            probe_after=float(self.settings.option("PROBE_AFTER")),
            if_unsure=bool(self.settings.option("FAIL_OVER_IF_UNSURE")),
        )

    @classmethod
    def check(cls, settings: ConnectionSettings) -> list[CheckMessage]:
        after, unsure = settings.option("PROBE_AFTER"), settings.option("FAIL_OVER_IF_UNSURE")
        seconds = isinstance(after, (int, float)) and not isinstance(after, bool) and after >= 0
        wanted = (
            ("PROBE_AFTER", after, seconds, "a number of seconds, 0 or more"),
            ("FAIL_OVER_IF_UNSURE", unsure, isinstance(unsure, bool), "True or False"),
        )
        where = f'DJQUEUE["CONNECTIONS"]["{settings.name}"]'
        return [
            checks.Error(
                f'{where}["{key}"] is {value!r}, not {words}.',
                hint=f"Set it to {words}, or remove it to use the default.",
                id="djqueue.E003",
            )
            for key, value, fits, words in wanted
            if not fits
        ]

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        if jobs:
            self._switch.push(jobs)

    def would_park(self, job: OutgoingJob) -> bool:
        """Where every member would: else the one that takes the job may keep it by itself."""
        return bool(self._stores) and all(store.would_park(job) for store in self._stores)

    @property
    def patience(self) -> float | None:
        """Its members have the same."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = seconds
        for store in self._stores:
            store.patience = seconds

    # -- working -------------------------------------------------------------------------------

    def join(self) -> None:
        self._refuse_worker()

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        self._refuse_worker()

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        self._refuse_worker()

    def _refuse_worker(self) -> NoReturn:
        raise Unsupported(str(self.capabilities.why_not("workers")))

    # -- inspecting ----------------------------------------------------------------------------

    def counts(self, queue: str) -> QueueCounts:
        """The sums. `QueueUnavailable` if a member cannot be asked: a part would mislead."""
        every = [store.counts(queue) for store in self._stores]
        return QueueCounts(
            _sum(counts.waiting for counts in every),
            _sum(counts.delayed for counts in every),
            _sum(counts.reserved for counts in every),
            min((counts.oldest_at for counts in every if counts.oldest_at), default=None),
        )

    def queues(self) -> list[str]:
        names = {name for store in self._stores for name in store.queues()}
        return sorted({self.settings.queue, *names})

    def peek(
        self, queue: str, state: State, limit: int = 20, after: str | None = None
    ) -> list[StoredJob]:
        """The first member's jobs, then the second's: stores have no order among them."""
        stores = self._stores
        if after is not None:
            having = [at for at, store in enumerate(stores) if store.find([after])]
            stores = stores[having[0] :] if having else stores
        found: list[StoredJob] = []
        for store in stores:
            if len(found) < limit:
                found += store.peek(queue, state, limit - len(found), after)
            after = None
        return found

    def find(self, ids: Sequence[str]) -> list[StoredJob]:
        """A member that cannot be asked is an error only where a job was not found elsewhere."""
        found: list[StoredJob] = []
        silent: QueueUnavailable | None = None
        for store in self._stores:
            try:
                found += store.find(ids)
            except QueueUnavailable as error:
                silent = error
        if silent is not None and not {job.id for job in found} >= set(ids):
            raise silent
        return found

    def search(self, part: str, limit: int = 20) -> list[StoredJob]:
        found = [job for store in self._stores for job in store.search(part, limit)]
        return found[:limit]

    def remove(self, queue: str, ids: Sequence[str], *, even_running: bool = False) -> int:
        def act(store: Driver) -> int:
            return store.remove(queue, ids, even_running=even_running)

        return self._everywhere(act, len(ids))

    def release(self, queue: str, ids: Sequence[str]) -> int:
        return self._everywhere(lambda store: store.release(queue, ids), len(ids))

    def make_due(self, queue: str) -> int:
        return self._everywhere(lambda store: store.make_due(queue))

    def clear(self, queue: str) -> int:
        return self._everywhere(lambda store: store.clear(queue))

    def _everywhere(self, act: Callable[[Driver], int], enough: int | None = None) -> int:
        """Act on each member that can be reached, then tell of one that cannot; how many jobs.

        With `enough` of them a member that cannot be reached has nothing to add.
        """
        done = 0
        silent: QueueUnavailable | None = None
        for store in self._stores:
            try:
                done += act(store)
            except QueueUnavailable as error:
                silent = error
        if silent is not None and (enough is None or done < enough):
            raise QueueUnavailable(
                f"{silent} It was done on the other members: {done:,} jobs there."
            ) from silent
        return done

    # -- processes -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        for store in self._stores:
            store.before_fork()

    def after_fork_in_child(self) -> None:
        for store in self._stores:
            store.after_fork_in_child()

    def close(self) -> None:
        for store in self._stores:
            store.close()


def _sum(numbers: Iterable[int | None]) -> int | None:
    """None if one of them is not known."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total
