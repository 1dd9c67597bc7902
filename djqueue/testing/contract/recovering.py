"""A worker that gives no sign of life any more loses its jobs to others."""

from __future__ import annotations

from djqueue.drivers.base import Settlement, State, Verdict
from djqueue.testing.contract.setup import ContractSetup


class Recovering(ContractSetup):
    """`Session.extend`, `Session.recover` and stuck jobs."""

    def test_the_jobs_of_a_dead_worker_come_back(self) -> None:
        ids = set(self.push(5))
        self.reserve(5)
        self.kill_lease()
        found: set[str] = set()

        def all_back() -> bool:
            taken = self.other.recover(10)
            self.other.settle([Settlement(r, Verdict.INTERRUPTED) for r in taken])
            found.update(self.ids(self.other.exchange([], [self.queue], 5).reservations))
            return found == ids

        assert self.until(all_back), f"{len(ids - found)} of {len(ids)} did not come back"

    def test_a_job_taken_over_is_as_it_was(self) -> None:
        self.needs("fenced")
        self.push()
        self.settle(self.reserve()[0], Verdict.RELEASE, history="first")
        (held,) = self.reserve()
        self.kill_lease()
        (taken,) = self.other.recover(10)
        assert taken[:7] == held[:7]
        assert (taken.attempt, taken.interruptions, taken.history) == (2, 0, "first")
        assert self.other.settle([Settlement(taken, Verdict.INTERRUPTED)]) == set()
        (again,) = self.reserve(session=self.other)
        assert (again.attempt, again.interruptions) == (2, 1)

    def test_a_job_taken_over_may_be_given_up(self) -> None:
        self.needs("fenced")
        self.push()
        self.reserve()
        self.kill_lease()
        (taken,) = self.other.recover(10)
        assert self.other.settle([Settlement(taken)]) == set()
        assert self.nothing_is_left(self.other)

    def test_a_job_is_taken_over_by_one_worker_only(self) -> None:
        self.needs("fenced")
        self.push(3)
        self.reserve(3)
        self.kill_lease()
        third = self.join(self.open(), "third")
        assert len(self.other.recover(10)) == 3
        assert third.recover(10) == []
        assert self.nothing_is_left(third)

    def test_no_more_than_the_limit_is_taken_over(self) -> None:
        self.needs("fenced")
        self.push(5)
        self.reserve(5)
        self.kill_lease()
        taken = [self.other.recover(2) for _ in range(3)]
        assert [len(some) for some in taken] == [2, 2, 1]
        assert len({r.id for some in taken for r in some}) == 5

    def test_a_sign_of_life_keeps_what_is_held(self) -> None:
        self.push(2)
        held = self.reserve(2)
        for _ in range(6):
            self.wait(self.lease / 3)
            assert self.session.extend(held) == set()
            assert self.other.recover(10) == []
            assert self.nothing_is_left(self.other)
        assert self.session.settle([Settlement(r) for r in held]) == set()

    def test_a_taken_over_job_needs_signs_of_life_too(self) -> None:
        self.needs("fenced")
        self.push()
        self.reserve()
        self.kill_lease()
        third = self.join(self.open(), "third")
        (taken,) = self.other.recover(10)
        for _ in range(4):
            self.wait(self.lease / 2)
            assert self.other.extend([taken]) == set()
            assert third.recover(10) == []
        self.kill_lease()
        third.extend([])
        assert self.ids(third.recover(10)) == [taken.id]

    def test_waiting_and_delayed_jobs_are_not_recovered(self) -> None:
        self.push()
        self.push(delay=600)
        self.kill_lease()
        assert self.session.recover(10) == []

    def test_what_an_answer_that_never_arrived_reserved_is_found_again(self) -> None:
        self.needs("fenced")
        self.push(5)
        held = self.reserve(2)
        unseen = self.reserve(2)  # had the connection broken here, they would be unknown
        self.reserve(1, self.other)
        found = self.session.unacknowledged(held)
        assert sorted(found) == sorted(unseen)
        assert self.session.unacknowledged([*held, *unseen]) == []
        assert self.session.settle([Settlement(r, Verdict.RETURN) for r in found]) == set()
        assert {(r.id, r.attempt) for r in self.reserve(2)} == {(r.id, 1) for r in unseen}

    # -- what operators do about them -----------------------------------------------------------

    def test_a_job_whose_lease_is_over_is_stuck(self) -> None:
        self.needs("fenced", "peek", "find")
        self.push()
        (held,) = self.reserve()
        assert (self.peeked(State.RESERVED), self.peeked(State.STUCK)) == ([held.id], [])
        assert self.stored(held.id).state is State.RESERVED
        self.kill_lease()
        assert (self.peeked(State.RESERVED), self.peeked(State.STUCK)) == ([], [held.id])
        assert self.stored(held.id).state is State.STUCK

    def test_stuck_jobs_are_released_and_others_are_not(self) -> None:
        self.needs("fenced", "remove")
        self.push(2)
        stuck = self.reserve(2)
        self.kill_lease()
        (waiting,), (delayed,) = self.push(), self.push(delay=600)
        (running,) = self.reserve(session=self.other, limit=1)
        assert running.id == waiting
        everything = [*self.ids(stuck), waiting, delayed, "00000000-0000-4000-8000-000000000000"]
        assert self.inspector.release(self.queue, everything) == 2
        assert self.inspector.release(self.queue, everything) == 0
        again = self.reserve(2, self.other)
        assert {(r.id, r.attempt, r.interruptions) for r in again} == {(r.id, 1, 1) for r in stuck}
        assert self.nothing_is_left()

    def test_stuck_jobs_are_removed_and_running_ones_are_not(self) -> None:
        self.needs("fenced", "remove")
        self.push(2)
        stuck = self.reserve(2)
        self.kill_lease()
        self.push()
        (running,) = self.reserve(session=self.other)
        assert self.inspector.remove(self.queue, self.ids([*stuck, running])) == 2
        assert self.other.recover(10) == []
        assert self.other.settle([Settlement(running)]) == set()
