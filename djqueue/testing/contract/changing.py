"""What operators do to single jobs, and that nothing else is changed by it."""

from __future__ import annotations

from unittest import SkipTest

from djqueue.drivers.base import Change, State
from djqueue.errors import Unsupported
from djqueue.testing.contract.setup import ContractSetup

NO_JOB = "00000000-0000-4000-8000-000000000000"


class Changing(ContractSetup):
    """`Inspector.change`, in every state."""

    def change(self, change: Change, *ids: str, seen: str = "") -> set[str]:
        """Do `change` to jobs of the queue, which were `seen` under that reservation."""
        return self.inspector.change(change, self.queue, dict.fromkeys([*ids, NO_JOB], seen))

    def in_each_state(self) -> dict[State, str]:
        """One job in each state: its id."""
        self.needs("fenced", "remove", "find")
        self.push(1)
        (stuck,) = self.reserve(1)
        self.kill_lease()
        idle, (delayed,) = self.push(2), self.push(delay=600)
        (running,) = self.reserve(session=self.other)  # the last step: its lease is short
        (waiting,) = set(idle) - {running.id}
        return {
            State.STUCK: stuck.id,
            State.RESERVED: running.id,
            State.WAITING: waiting,
            State.DELAYED: delayed,
        }

    def test_what_no_worker_runs_is_deleted(self) -> None:
        jobs = self.in_each_state()
        running = jobs.pop(State.RESERVED)
        assert self.change(Change.DELETE, *jobs.values(), running) == set(jobs.values())
        assert self.change(Change.DELETE, *jobs.values()) == set()
        assert self.stored(running).state is State.RESERVED

    def test_a_running_job_is_deleted_in_the_reservation_that_was_seen(self) -> None:
        jobs = self.in_each_state()
        running = self.stored(jobs[State.RESERVED])
        if not running.reservation:
            raise SkipTest("StoredJob.reservation: this driver does not name reservations.")
        assert self.change(Change.DELETE_RUNNING, running.id, seen="another:one:") == set()
        changed = self.change(Change.DELETE_RUNNING, running.id, seen=running.reservation)
        assert changed == {running.id}
        idle = jobs[State.WAITING], jobs[State.DELAYED]
        assert self.change(Change.DELETE_RUNNING, *idle) == set()

    def test_a_stuck_job_alone_is_released(self) -> None:
        jobs = self.in_each_state()
        stuck = self.stored(jobs[State.STUCK])
        assert self.change(Change.RELEASE, *jobs.values(), seen="another:one:") == set()
        assert self.change(Change.RELEASE, *jobs.values()) == {stuck.id}
        assert self.change(Change.RELEASE, stuck.id, seen=stuck.reservation) == set()
        assert self.stored(stuck.id).state is State.WAITING
        assert self.stored(stuck.id).interruptions == 1

    def test_a_delayed_job_alone_is_run_now(self) -> None:
        jobs = self.in_each_state()
        delayed = jobs[State.DELAYED]
        self.push(delay=600)
        try:
            assert self.change(Change.RUN_NOW, *jobs.values()) == {delayed}
        except Unsupported as why:
            raise SkipTest(str(why)) from why
        assert self.change(Change.RUN_NOW, *jobs.values()) == set()
        found = self.reserve(2, self.other)
        assert sorted(self.ids(found)) == sorted([delayed, jobs[State.WAITING]])
        assert self.nothing_is_left(self.other)
