"""A worker that lost a job changes nothing any more, and learns so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.drivers.base import Settlement, State, Verdict
from djqueue.testing.contract.setup import ContractSetup

if TYPE_CHECKING:
    from djqueue.drivers.base import Reservation, Session


class Fencing(ContractSetup):
    """A write about a reservation that is no longer ours."""

    def _refused(self, stale: Reservation, session: Session | None = None) -> None:
        """Everything that a stale worker may try reports the job as lost."""
        session = session or self.session
        assert session.extend([stale]) == {stale.id}
        for settlement in (
            Settlement(stale, Verdict.REMOVE),
            Settlement(stale, Verdict.RELEASE, history="stale"),
            Settlement(stale, Verdict.RELEASE, delay=60.0),
            Settlement(stale, Verdict.RETURN),
            Settlement(stale, Verdict.INTERRUPTED, history="stale"),
        ):
            assert session.settle([settlement]) == {stale.id}, (
                f"{settlement.verdict!r} went through"
            )

    def test_a_job_is_settled_once(self) -> None:
        self.needs("fenced")
        self.push()
        (reservation,) = self.reserve()
        self.settle(reservation)
        self._refused(reservation)
        assert self.nothing_is_left()

    def test_a_stale_worker_cannot_touch_a_job_that_was_released(self) -> None:
        self.needs("fenced")
        for verdict in (Verdict.RELEASE, Verdict.RETURN, Verdict.INTERRUPTED):
            (id,) = self.push()
            (stale,) = self.reserve()
            self.settle(stale, verdict)
            self._refused(stale)
            (again,) = self.reserve()
            assert (again.id, again.history) == (id, "")
            self.settle(again)

    def test_a_stale_worker_cannot_touch_a_job_that_is_delayed(self) -> None:
        self.needs("fenced")
        self.push()
        (stale,) = self.reserve()
        self.settle(stale, Verdict.RELEASE, delay=0.5)
        self._refused(stale)
        (again,) = self.reserve()
        assert (again.id, again.attempt, again.history) == (stale.id, 2, "")

    def test_a_stale_worker_cannot_touch_a_job_that_was_reserved_again(self) -> None:
        self.needs("fenced")
        for verdict in (Verdict.RELEASE, Verdict.RETURN, Verdict.INTERRUPTED):
            self.push()
            (stale,) = self.reserve()
            self.settle(stale, verdict)
            (fresh,) = self.reserve(session=self.other)
            self._refused(stale)
            assert self.other.extend([fresh]) == set()
            assert self.other.settle([Settlement(fresh)]) == set()
        assert self.nothing_is_left()

    def test_a_stale_worker_cannot_touch_a_job_that_was_taken_over(self) -> None:
        self.needs("fenced")
        self.push()
        (stale,) = self.reserve()
        self.kill_lease()
        (fresh,) = self.other.recover(10)
        self._refused(stale)
        assert (fresh.id, fresh.payload) == (stale.id, stale.payload)
        assert self.other.settle([Settlement(fresh, Verdict.RELEASE, history="fresh")]) == set()
        (again,) = self.reserve()
        assert (again.attempt, again.history) == (2, "fresh")

    def test_a_stale_worker_cannot_bring_back_a_job_that_was_removed(self) -> None:
        self.needs("fenced", "remove")
        self.push()
        (stale,) = self.reserve()
        assert self.inspector.remove(self.queue, [stale.id], even_running=True) == 1
        self._refused(stale)
        assert self.nothing_is_left()
        assert self.inspector.counts(self.queue)[:3] == (0, 0, 0)

    def test_a_stale_worker_cannot_touch_a_job_of_the_same_id_that_was_pushed_later(self) -> None:
        self.needs("fenced", "remove")
        job = self.job()
        self.pusher.push([job])
        (stale,) = self.reserve()
        self.inspector.remove(self.queue, [job.id], even_running=True)
        self.pusher.push([job])
        self._refused(stale)
        (fresh,) = self.reserve()
        self._refused(stale)
        assert (fresh.attempt, self.settle(fresh)) == (1, set())

    def test_a_stale_worker_cannot_touch_a_stuck_job_that_an_operator_released(self) -> None:
        self.needs("fenced", "remove")
        self.push()
        (stale,) = self.reserve()
        self.kill_lease()
        assert self.inspector.release(self.queue, [stale.id]) == 1
        self._refused(stale)
        (again,) = self.reserve(session=self.other)
        assert (again.attempt, again.interruptions, again.history) == (1, 1, "")

    def test_a_lost_job_does_not_stop_the_others_of_a_window(self) -> None:
        self.needs("fenced", "remove")
        self.push(5)
        held = self.reserve(5)
        self.inspector.remove(self.queue, [held[1].id, held[3].id], even_running=True)
        (waiting,) = self.push()
        lost, new = self.session.exchange([Settlement(r) for r in held], [self.queue], 5)
        assert lost == {held[1].id, held[3].id}
        assert self.ids(new) == [waiting]
        assert self.settle(new[0]) == set()
        assert self.nothing_is_left()

    def test_extending_tells_which_of_several_are_lost(self) -> None:
        self.needs("fenced", "remove")
        self.push(3)
        held = self.reserve(3)
        self.inspector.remove(self.queue, [held[1].id], even_running=True)
        assert self.session.extend(held) == {held[1].id}
        assert self.session.extend([]) == set()

    def test_a_lease_that_is_over_still_counts_until_the_job_is_taken(self) -> None:
        self.needs("fenced")
        self.push(2)
        held = self.reserve(2)
        self.kill_lease()
        assert self.settle(held[0]) == set()
        assert self.session.extend([held[1]]) == set()
        assert self.settle(held[1]) == set()
        assert self.nothing_is_left()
        assert self.other.recover(10) == []

    def test_the_number_of_a_take_over_is_never_an_earlier_one(self) -> None:
        self.needs("fenced")
        self.push()
        stale = self.reserve()
        for session in (self.other, self.session, self.other):
            self.kill_lease()
            (fresh,) = session.recover(10)
            for old in stale:
                self._refused(old, session)
            stale.append(fresh)
        assert self.other.settle([Settlement(stale[-1])]) == set()

    def test_what_was_lost_leaves_no_trace(self) -> None:
        self.needs("fenced", "peek")
        self.push()
        (stale,) = self.reserve()
        self.settle(stale)
        self._refused(stale)
        assert [self.peeked(state) for state in State] == [[], [], [], []]
