"""Which job is next, and when."""

from __future__ import annotations

import marshal
import select
import time
from unittest import SkipTest

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.testing.contract.setup import ContractSetup


class Reserving(ContractSetup):
    """`Session.exchange`, `Session.begin`, `Session.promote` and `Session.watch`."""

    def test_an_empty_queue_has_nothing_to_reserve(self) -> None:
        assert self.session.exchange([], [self.queue], 10) == (set(), [])

    def test_no_more_than_the_limit_is_reserved(self) -> None:
        self.push(12)
        for limit in (1, 5, 3):
            assert len(self.session.exchange([], [self.queue], limit).reservations) <= limit

    def test_a_limit_of_nothing_reserves_nothing(self) -> None:
        self.push()
        assert self.session.exchange([], [self.queue], 0).reservations == []
        assert len(self.reserve()) == 1

    def test_a_reserved_job_is_not_handed_out_again(self) -> None:
        ids = self.push(3)
        assert set(self.ids(self.reserve(3))) == set(ids)
        assert self.nothing_is_left()
        assert self.nothing_is_left(self.other)

    def test_other_queues_are_left_alone(self) -> None:
        self.push()
        assert self.session.exchange([], [self.make_queue()], 10).reservations == []

    def test_a_reservation_goes_through_a_pipe(self) -> None:
        self.push()
        (reservation,) = self.reserve()
        sent = marshal.dumps(tuple(reservation))
        assert Reservation(*marshal.loads(sent)) == reservation  # noqa: S302 - our own bytes

    def test_an_exchange_that_is_begun_ends_like_any_other(self) -> None:
        ids = self.push(4)
        self.session.watch([self.queue])
        held = self.reserve(2)
        settlements = [Settlement(reservation) for reservation in held]
        answers = []
        for _ in range(2):
            answer = self.session.begin(settlements, [self.queue], 10)
            if answer is None:
                raise SkipTest("this store is waited for")
            while not answer.is_there():
                assert select.select([answer], [], [], self.patience)[0]
            answers.append(answer.take())
        assert answers[0].lost == set()
        assert {*self.ids(held), *self.ids(answers[0].reservations)} == set(ids)
        assert answers[1] == (set(self.ids(held)), [])

    # -- order ----------------------------------------------------------------------------------

    def test_jobs_come_in_the_order_of_dispatch(self) -> None:
        self.needs("ordered")
        ids = self.push(12)
        assert self.ids(self.reserve(5)) + self.ids(self.reserve(7)) == ids

    def test_a_larger_priority_comes_first(self) -> None:
        self.needs("ordered", "priorities")
        low, middle, high = (self.push(2, priority=priority) for priority in (-100, 0, 100))
        (between,) = self.push(priority=7)
        assert self.ids(self.reserve(7)) == [*high, between, *middle, *low]

    def test_the_time_of_becoming_available_comes_before_the_order_of_dispatch(self) -> None:
        self.needs("ordered")
        (delayed,) = self.push(delay=0.6)
        (early,) = self.push()
        self.wait(0.8)
        (late,) = self.push()
        assert self.ids(self.reserve(3)) == [early, delayed, late]

    def test_a_better_priority_comes_first_even_when_it_was_delayed(self) -> None:
        self.needs("ordered", "priorities")
        (better,) = self.push(delay=0.3, priority=5)
        (worse,) = self.push()
        self.wait(0.5)
        assert self.ids(self.reserve(2)) == [better, worse]

    def test_a_released_job_goes_to_the_end(self) -> None:
        self.needs("ordered")
        first, *others = self.push(4)
        (reservation,) = self.reserve()
        assert reservation.id == first
        self.settle(reservation, Verdict.RELEASE)
        assert self.ids(self.reserve(4)) == [*others, first]

    def test_a_returned_job_keeps_its_place(self) -> None:
        self.needs("ordered")
        ids = self.push(6)
        reservations = self.reserve(3)
        self.session.settle([Settlement(r, Verdict.RETURN) for r in reversed(reservations)])
        assert self.ids(self.reserve(6)) == ids

    def test_queues_are_asked_strictly_in_order(self) -> None:
        high, low = self.make_queue(), self.make_queue()
        lows = self.push(3, queue=low)
        highs = self.push(3, queue=high)
        first = self.reserve(2, queues=[high, low])
        second = self.reserve(4, queues=[high, low])
        assert set(self.ids(first)) <= set(highs)
        assert {r.queue for r in first} == {high}
        assert {r.id for r in second} == {*highs, *lows} - set(self.ids(first))
        assert [r.queue for r in first + second] == [high] * 3 + [low] * 3

    def test_the_limit_goes_for_all_queues_together(self) -> None:
        queues = [self.make_queue() for _ in range(4)]
        for queue in queues:
            self.push(3, queue=queue)
        for _ in range(3):
            assert len(self.session.exchange([], queues, 4).reservations) <= 4

    # -- delays ---------------------------------------------------------------------------------

    def test_a_delayed_job_is_never_early(self) -> None:
        started = time.monotonic()
        (id,) = self.push(delay=1.0)
        found: list[str] = []
        while not found and time.monotonic() < started + 1.0 + self.patience:
            self.session.promote([self.queue])
            found = self.ids(self.session.exchange([], [self.queue], 1).reservations)
            self.wait(0.01)
        assert found == [id]
        assert time.monotonic() - started >= 0.99

    def test_promote_tells_when_the_next_job_is_due(self) -> None:
        self.push(delay=600)
        due = self.session.promote([self.queue]).due_in
        if due is None:
            raise SkipTest("this store promotes by itself")
        assert 590 < due < 600.1
        self.push(delay=60)
        moved, due = self.session.promote([self.make_queue(), self.queue])
        assert due is not None
        assert (moved, 50 < due < 60.1) == (0, True)

    def test_promote_has_nothing_to_tell_when_nothing_is_delayed(self) -> None:
        self.push()
        assert self.session.promote([self.queue]) == (0, None)

    def test_a_crowd_that_is_due_at_once_is_promoted_in_slices(self) -> None:
        jobs = [self.job(delay=0.5) for _ in range(1100)]
        self.pusher.push(jobs)
        self.wait(0.7)
        slices = 1
        while self.session.promote([self.queue]).due_in == 0:
            slices += 1
            assert slices < 100
        assert {r.id for r in self.reserve(1100)} == {job.id for job in jobs}
        assert self.session.promote([self.queue]) == (0, None)

    def test_a_delay_of_a_released_job_counts_from_the_release(self) -> None:
        self.push()
        (reservation,) = self.reserve()
        released = time.monotonic()
        self.settle(reservation, Verdict.RELEASE, delay=1.0)
        assert self.nothing_is_left()
        assert len(self.reserve()) == 1
        assert time.monotonic() - released >= 0.99

    # -- wake-up --------------------------------------------------------------------------------

    def test_an_idle_worker_is_woken_by_a_push(self) -> None:
        wakeup = self.session.watch([self.make_queue(), self.queue])
        if wakeup is None:
            raise SkipTest("this store wakes no worker: workers poll")
        wakeup.set_idle(True)
        self.until(lambda: not wakeup.arrived(), 1.0)
        self.push_elsewhere()
        started = time.monotonic()
        descriptor = wakeup.fileno()
        if descriptor is not None:
            assert select.select([descriptor], [], [], 2.0)[0], "its descriptor was not readable"
        assert self.until(wakeup.arrived, 2.0)
        assert time.monotonic() - started < 1.0
        wakeup.set_idle(False)
        assert len(self.reserve()) == 1
        wakeup.close()

    def test_a_wake_up_comes_once(self) -> None:
        wakeup = self.session.watch([self.queue])
        if wakeup is None:
            raise SkipTest("this store wakes no worker: workers poll")
        wakeup.set_idle(True)
        self.push_elsewhere()
        assert self.until(wakeup.arrived, 2.0)
        self.reserve()
        wakeup.set_idle(True)
        assert self.until(lambda: not wakeup.arrived(), 2.0)
        self.push_elsewhere()
        assert self.until(wakeup.arrived, 2.0)
        wakeup.close()
