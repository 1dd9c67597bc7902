"""A connection that is made of others.

It keeps nothing itself. Each try has the same ids, so a store that has a job already knows it, but
two stores know nothing of each other: where one broke off between a request and its answer
(`QueueUnavailable.ambiguous`), a job may be in both and run twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from djqueue.conf.kinds import FLAG, SECONDS, Kind, Option
from djqueue.drivers.base import Capabilities, Driver, OutgoingJob, WorkerIdentity
from djqueue.drivers.failover.inspection import FailoverInspector
from djqueue.drivers.failover.members import combined_capabilities, make_members, worker_hint
from djqueue.drivers.failover.pushing import FirstTaker
from djqueue.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.conf import ConnectionSettings


# The checks of connections look at the members themselves: at their names, and for circles.
MEMBERS = Kind("a list of names of connections", lambda _: True)


class FailoverDriver(Driver):
    """Pushes to the first member that takes the jobs; shows what all of them hold.

    Workers run for the members. A member that runs jobs at once (``sync``, ``deferred``) is the
    last resort, for when no store can be reached.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "CONNECTIONS": Option((), MEMBERS),
        "PROBE_AFTER": Option(5, SECONDS),
        "FAIL_OVER_IF_UNSURE": Option(True, FLAG),
    }
    passes_on = True
    capabilities = Capabilities({"workers": "Workers run for its members."})

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        members = make_members(settings)
        inline = [each.settings.name for each in members if each.capabilities.inline]
        self._members = [each for each in members if not each.capabilities.inline]
        self._patience: float | None = None
        self.members = tuple(member.settings.name for member in self._members)
        self.capabilities = combined_capabilities(
            self._members, worker_hint(settings, self._members)
        )
        self._first_taker = FirstTaker(
            settings.name,
            self._members,
            inline[0] if inline else None,
            sender=type(self),
            probe_after=float(self.settings.option("PROBE_AFTER")),
            fail_over_if_ambiguous=bool(self.settings.option("FAIL_OVER_IF_UNSURE")),
        )

    # -- dispatching ---------------------------------------------------------------------------

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        if jobs:
            self._first_taker.push(jobs)

    def would_park(self, job: OutgoingJob) -> bool:
        """Return whether every member would: else the member that takes the job may keep it by
        itself.
        """
        return bool(self._members) and all(member.would_park(job) for member in self._members)

    @property
    def patience(self) -> float | None:
        """The patience of its members."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = seconds
        for member in self._members:
            member.patience = seconds

    def session(self, worker: WorkerIdentity | None = None) -> NoReturn:
        raise Unsupported(str(self.capabilities.why_not("workers")))

    def inspector(self) -> FailoverInspector:
        return FailoverInspector(
            self.settings, self.capabilities, [member.inspector() for member in self._members]
        )

    def close(self) -> None:
        for member in self._members:
            member.close()
