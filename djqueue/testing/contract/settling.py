"""What each verdict does to a job."""

from __future__ import annotations

from djqueue.drivers.base import Settlement, Verdict
from djqueue.testing.contract.setup import ContractSetup


class Settling(ContractSetup):
    """`Session.settle`, and settling as a part of `Session.exchange`."""

    def test_a_removed_job_is_gone(self) -> None:
        self.push()
        assert self.settle(self.reserve()[0]) == set()
        assert self.nothing_is_left()
        assert self.inspector.counts(self.queue)[:3] in ((0, 0, 0), (None, None, None))

    def test_a_released_job_comes_back_as_the_next_attempt(self) -> None:
        (id,) = self.push()
        for attempt in (1, 2, 3):
            (reservation,) = self.reserve()
            assert (reservation.id, reservation.attempt) == (id, attempt)
            assert self.settle(reservation, Verdict.RELEASE) == set()

    def test_a_released_job_is_as_it_was_pushed(self) -> None:
        job = self.job(payload='{"arguments":{"a":[],"n":130775545883395173}}')
        self.pusher.push([job])
        for _ in range(4):
            (reservation,) = self.reserve()
            assert (reservation.name, reservation.payload) == (job.name, job.payload)
            self.settle(reservation, Verdict.RELEASE)

    def test_an_uncharged_release_costs_no_attempt(self) -> None:
        self.needs("fenced")
        self.push()
        for _ in range(3):
            (reservation,) = self.reserve()
            assert (reservation.attempt, reservation.interruptions) == (1, 0)
            self.settle(reservation, Verdict.RELEASE, charged=False)

    def test_a_returned_job_is_as_if_it_had_not_been_reserved(self) -> None:
        self.needs("fenced")
        self.push()
        for _ in range(3):
            (reservation,) = self.reserve()
            assert (reservation.attempt, reservation.interruptions) == (1, 0)
            assert self.settle(reservation, Verdict.RETURN) == set()

    def test_an_interruption_is_counted_and_costs_no_attempt(self) -> None:
        self.needs("fenced")
        self.push()
        for interruptions in (0, 1, 2):
            (reservation,) = self.reserve()
            assert (reservation.attempt, reservation.interruptions) == (1, interruptions)
            assert self.settle(reservation, Verdict.INTERRUPTED) == set()

    def test_attempts_and_interruptions_are_kept_together(self) -> None:
        self.needs("fenced")
        self.push()
        seen = []
        for verdict in (Verdict.RELEASE, Verdict.INTERRUPTED, Verdict.RETURN, Verdict.RELEASE):
            (reservation,) = self.reserve()
            seen.append((reservation.attempt, reservation.interruptions))
            self.settle(reservation, verdict)
        (reservation,) = self.reserve()
        assert [*seen, (reservation.attempt, reservation.interruptions)] == [
            (1, 0),
            (2, 0),
            (2, 1),
            (2, 1),
            (3, 1),
        ]

    def test_a_history_is_kept_until_another_is_given(self) -> None:
        self.needs("fenced")
        self.push()
        steps = (
            (Verdict.RELEASE, '{"errors":1}', '{"errors":1}'),
            (Verdict.RELEASE, None, '{"errors":1}'),
            (Verdict.RETURN, None, '{"errors":1}'),
            (Verdict.INTERRUPTED, '{"errors":1,"at":"a:b|c\\n\\"grüße\\""}', None),
            (Verdict.RELEASE, "", ""),
        )
        history = ""
        for verdict, given, expected in steps:
            (reservation,) = self.reserve()
            assert reservation.history == history
            self.settle(reservation, verdict, history=given)
            history = given if given is not None else history
            assert expected is None or history == expected
        assert self.reserve()[0].history == ""

    def test_a_delayed_release_keeps_what_is_known(self) -> None:
        self.needs("fenced")
        self.push()
        (reservation,) = self.reserve()
        self.settle(reservation, Verdict.RELEASE, delay=0.3, history="so far")
        (again,) = self.reserve()
        assert (again.id, again.payload) == (reservation.id, reservation.payload)
        assert (again.attempt, again.interruptions, again.history) == (2, 0, "so far")

    def test_one_exchange_settles_and_reserves(self) -> None:
        ids = self.push(40)
        seen: list[str] = []
        held = self.reserve(10)
        while held:
            seen += self.ids(held)
            lost, held = self.session.exchange([Settlement(r) for r in held], [self.queue], 10)
            assert lost == set()
            if not held and len(seen) < 40:
                held = self.reserve(1)
        assert sorted(seen) == sorted(ids)
        assert self.nothing_is_left()

    def test_a_full_window_is_settled_at_once(self) -> None:
        self.push(120)
        held = self.reserve(120)
        assert self.session.settle([Settlement(r) for r in held]) == set()
        assert self.nothing_is_left()

    def test_one_call_takes_every_verdict(self) -> None:
        self.needs("fenced")
        self.push(4)
        held = self.reserve(4)
        lost, _ = self.session.exchange(
            [
                Settlement(held[0], Verdict.REMOVE),
                Settlement(held[1], Verdict.RELEASE, history="released"),
                Settlement(held[2], Verdict.RETURN),
                Settlement(held[3], Verdict.INTERRUPTED),
            ],
            [],
            0,
        )
        assert lost == set()
        again = {r.id: (r.attempt, r.interruptions, r.history) for r in self.reserve(3)}
        assert again == {
            held[1].id: (2, 0, "released"),
            held[2].id: (1, 0, ""),
            held[3].id: (1, 1, ""),
        }
        assert self.nothing_is_left()

    def test_jobs_of_several_queues_are_settled_together(self) -> None:
        queues = [self.make_queue() for _ in range(3)]
        for queue in queues:
            self.push(2, queue=queue)
        held = self.reserve(6, queues=queues)
        back = [Settlement(r, Verdict(i % 2)) for i, r in enumerate(held)]
        assert self.session.settle(back) == set()
        assert {r.id for r in self.reserve(3, queues=queues)} == {r.id for r in held[1::2]}

    def test_settling_nothing_does_nothing(self) -> None:
        assert self.session.settle([]) == set()
        assert self.session.exchange([], [], 10) == (set(), [])
