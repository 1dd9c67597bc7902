"""What operators see and do."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from unittest import SkipTest

from djqueue.drivers.base import Settlement, State, StoredJob, Verdict
from djqueue.errors import Unsupported
from djqueue.testing.contract.setup import ContractSetup

if TYPE_CHECKING:
    from collections.abc import Callable

    from djqueue.drivers.base import Feature

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


class Inspecting(ContractSetup):
    """Counting, listing, finding, removing, clearing."""

    def test_what_a_store_cannot_do_it_refuses_with_its_reason(self) -> None:
        self._as_it_says("peek", lambda: self.inspector.peek(self.queue, State.WAITING))
        self._as_it_says("find", lambda: self.inspector.find([UNKNOWN_ID]))
        self._as_it_says("remove", lambda: self.inspector.remove(self.queue, [UNKNOWN_ID]))

    def _as_it_says(self, feature: Feature, call: Callable[[], object]) -> None:
        reason = self.capabilities.why_not(feature)
        words = None
        try:
            call()
        except Unsupported as error:
            words = str(error)
        if reason is None:
            assert words is None, f"it says that it can {feature}, but: {words}"
        else:
            assert words is not None, f"it did {feature}, although it says: {reason}"
            assert reason in words
            assert self.pusher.settings.name in words

    # -- counts ---------------------------------------------------------------------------------

    def test_jobs_are_counted_by_state(self) -> None:
        self.needs("exact_counts")
        assert self.inspector.counts(self.queue) == (0, 0, 0, None)
        self.push(5)
        self.push(2, delay=600)
        self.reserve(2)
        assert self.inspector.counts(self.queue)[:3] == (3, 2, 2)
        assert self.inspector.counts(self.make_queue())[:3] == (0, 0, 0)

    def test_the_census_says_what_the_counts_say(self) -> None:
        self.needs("exact_counts")
        other = self.make_queue()
        self.push(5, priority=3)
        self.push(2, delay=600)
        self.reserve(2)
        for at_most in (None, 1000):
            found = self.inspector.census([self.queue, other], at_most)
            for queue in (self.queue, other):
                assert found[queue].counts[:3] == self.inspector.counts(queue)[:3]
                assert found[queue].stuck == 0

    def test_a_job_that_has_become_due_counts_as_waiting(self) -> None:
        self.needs("exact_counts")
        self.push(delay=0.2)
        assert self.until(lambda: self.inspector.counts(self.queue)[:3] == (1, 0, 0))
        self.session.promote([self.queue])
        assert self.inspector.counts(self.queue)[:3] == (1, 0, 0)

    def test_the_oldest_waiting_job_tells_since_when(self) -> None:
        self.needs("exact_counts")
        before = datetime.now(timezone.utc)
        self.push(priority=-5)
        self.wait(0.5)
        self.push(priority=5)
        self.push(delay=600)
        oldest = self.inspector.counts(self.queue).oldest_at
        assert oldest is not None
        assert abs(oldest - before) < timedelta(seconds=0.4)
        self.reserve(2)
        assert self.inspector.counts(self.queue).oldest_at is None

    def test_queues_that_hold_something_are_known(self) -> None:
        self.push()
        other = self.make_queue()
        self.push(queue=other, delay=600)
        names = self.inspector.queues()
        assert self.pusher.settings.queue in names
        assert names == sorted(names)
        if self.capabilities.why_not("peek") is None:
            assert {self.queue, other} <= set(names)

    # -- before their time ----------------------------------------------------------------------

    def test_delayed_jobs_are_made_due_where_the_store_can_do_that(self) -> None:
        ids = self.push(3, delay=600)
        self.push(queue=self.make_queue(), delay=600)
        try:
            moved = self.inspector.make_due(self.queue)
        except Unsupported as why:
            raise SkipTest(str(why)) from why
        assert moved == 3
        assert sorted(self.ids(self.reserve(3))) == sorted(ids)
        assert self.nothing_is_left()
        assert self.inspector.make_due(self.queue) == 0

    # -- looking --------------------------------------------------------------------------------

    def test_jobs_are_listed_in_each_state(self) -> None:
        self.needs("peek")
        held = self.push(2)
        assert self.ids(self.reserve(2)) == held
        waiting = self.push(3)
        later, sooner = self.push(delay=700), self.push(delay=600)
        assert self.peeked(State.WAITING) == waiting
        assert self.peeked(State.DELAYED) == [*sooner, *later]
        assert sorted(self.peeked(State.RESERVED)) == sorted(held)
        assert self.peeked(State.STUCK) == []
        assert self.inspector.peek(self.make_queue(), State.WAITING) == []

    def test_waiting_jobs_are_listed_as_they_will_run(self) -> None:
        self.needs("peek", "ordered", "priorities")
        (normal,), (high,), (low,) = self.push(), self.push(priority=9), self.push(priority=-9)
        assert self.peeked(State.WAITING) == [high, normal, low]

    def test_long_lists_come_in_pages(self) -> None:
        self.needs("peek")
        waiting, delayed = self.push(5), self.push(5, delay=600)
        self.push(4, priority=50)
        held = {r.id for r in self.reserve(4)}
        for state, ids in ((State.WAITING, waiting), (State.DELAYED, delayed)):
            assert [job.id for job in self._pages(state)] == ids
        assert {job.id for job in self._pages(State.RESERVED)} == held

    def _pages(self, state: State) -> list[StoredJob]:
        jobs: list[StoredJob] = []
        while page := self.inspector.peek(self.queue, state, 2, jobs[-1].id if jobs else None):
            assert len(page) <= 2
            jobs += page
        return jobs

    def test_a_stored_job_is_described(self) -> None:
        self.needs("peek", "find")
        job = self.job(priority=3, name="shop.Grüße")
        before = datetime.now(timezone.utc) - timedelta(seconds=1)
        self.pusher.push([job])
        stored = self.stored(job.id)
        (listed,) = self.inspector.peek(self.queue, State.WAITING)
        assert listed._replace(read_at=stored.read_at) == stored
        assert stored[:4] == (job.id, self.queue, job.name, job.payload)
        assert (stored.state, stored.attempts, stored.interruptions) == (State.WAITING, 0, 0)
        assert (stored.reserved_at, stored.reserved_until, stored.worker) == (None, None, None)
        for moment in (stored.created_at, stored.available_at):
            assert moment is not None
            assert before < moment < before + timedelta(seconds=5)

    def test_a_reserved_job_tells_who_holds_it(self) -> None:
        self.needs("find", "fenced")
        self.push()
        (held,) = self.reserve()
        stored = self.stored(held.id)
        assert (stored.state, stored.attempts, stored.worker) == (State.RESERVED, 1, "worker")
        assert stored.reserved_at is not None
        assert abs(stored.reserved_at - datetime.now(timezone.utc)) < timedelta(seconds=3)
        self.settle(held, Verdict.INTERRUPTED)
        stored = self.stored(held.id)
        assert (stored.state, stored.attempts, stored.interruptions) == (State.WAITING, 0, 1)
        assert stored.worker is None

    def test_a_delayed_job_tells_when_it_is_due(self) -> None:
        self.needs("find")
        (id,) = self.push(delay=600)
        stored = self.stored(id)
        assert stored.state is State.DELAYED
        assert stored.available_at is not None
        due = datetime.now(timezone.utc) + timedelta(seconds=600)
        assert abs(stored.available_at - due) < timedelta(seconds=3)

    def test_jobs_are_found_by_id_in_any_state_and_queue(self) -> None:
        self.needs("find")
        (held,) = self.push()
        self.reserve()
        (waiting,), (delayed,) = self.push(), self.push(delay=600)
        (elsewhere,) = self.push(queue=self.make_queue())
        found = self.inspector.find([held, UNKNOWN_ID, waiting, delayed, elsewhere])
        assert {job.id: job.state for job in found} == {
            held: State.RESERVED,
            waiting: State.WAITING,
            delayed: State.DELAYED,
            elsewhere: State.WAITING,
        }
        assert self.inspector.find([]) == []

    def test_jobs_are_found_by_a_part_of_their_id(self) -> None:
        self.needs("peek", "find")
        ids = self.push(3) + self.push(delay=600)
        for id in ids:
            digits = id.replace("-", "")
            for part in (digits, digits[:14], digits[-14:]):
                assert [job.id for job in self.inspector.search(part)] == [id]
        assert self.inspector.search("0" * 20) == []

    # -- removing -------------------------------------------------------------------------------

    def test_waiting_and_delayed_jobs_are_removed(self) -> None:
        self.needs("remove")
        ids = self.push(3) + self.push(2, delay=600)
        assert self.inspector.remove(self.queue, [ids[0], ids[4], UNKNOWN_ID]) == 2
        assert self.inspector.remove(self.queue, [ids[0], ids[4], UNKNOWN_ID]) == 0
        assert self.inspector.remove(self.make_queue(), ids) == 0
        assert self.inspector.counts(self.queue)[:3] == (2, 1, 0)
        assert self.ids(self.reserve(2)) == ids[1:3]

    def test_a_running_job_is_removed_only_when_asked_to(self) -> None:
        self.needs("remove", "fenced")
        self.push()
        (held,) = self.reserve()
        assert self.inspector.remove(self.queue, [held.id]) == 0
        assert self.inspector.remove(self.queue, [held.id], even_running=True) == 1
        assert self.settle(held) == {held.id}

    def test_a_removed_job_may_be_pushed_again(self) -> None:
        self.needs("remove")
        job = self.job()
        self.pusher.push([job])
        self.inspector.remove(self.queue, [job.id])
        self.pusher.push([job])
        assert self.ids(self.reserve()) == [job.id]

    def test_clearing_spares_what_runs(self) -> None:
        self.push(2)
        held = self.reserve(2)
        self.push(4)
        self.push(3, delay=600)
        assert self.inspector.clear(self.queue) == 7
        assert self.nothing_is_left()
        assert self.session.extend(held) == set()
        assert self.settle(held[0], Verdict.RELEASE) == set()
        assert self.session.settle([Settlement(held[1])]) == set()
        assert self.ids(self.reserve()) == [held[0].id]

    def test_clearing_takes_a_long_queue(self) -> None:
        self.pusher.push([self.job() for _ in range(1500)])
        self.pusher.push([self.job(delay=600) for _ in range(1500)])
        assert self.inspector.clear(self.queue) == 3000
        assert self.nothing_is_left()
