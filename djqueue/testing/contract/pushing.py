"""What goes in comes out."""

from __future__ import annotations

import uuid
from unittest import SkipTest

from djqueue.testing.contract.setup import ContractSetup

TEXTS = (
    "{}",
    "null",
    " ",
    "not JSON at all",
    '{"v":1,"name":"a.B","options":{},"id":"x","sent":1.0,"arguments":{"a":[],"b":{}}}',
    '{"big":130775545883395173,"small":0.1234567890123456789}',
    "[" * 5000 + "]" * 5000,
    "tab\tline\nreturn\rbackslash\\quote'double\"percent%s%%dollar$1 \\. \\N",
    "grüße 你好 🚀 \u2028\u200f",
    "x" * 70_000,
)
"""Payloads that a store may not change. They are bytes to it, whatever they look like."""

BYTES = ("\0", "a\0b", b"\xff\xfe\x00\x80abc".decode("utf-8", "surrogateescape"), "")
"""The same, for stores that keep bytes."""


class Pushing(ContractSetup):
    """`Driver.push`."""

    def test_a_job_is_handed_out_as_it_was_pushed(self) -> None:
        job = self.job(name="shop.Grüße", payload='{"arguments":{}}')
        self.pusher.push([job])
        (reservation,) = self.reserve()
        assert reservation[:7] == (job.id, self.queue, job.name, job.payload, 1, 0, "")

    def test_pushing_nothing_does_nothing(self) -> None:
        self.pusher.push([])
        assert self.nothing_is_left()

    def test_hostile_payloads_come_back_byte_for_byte(self) -> None:
        jobs = [self.job(payload=body) for body in self._bodies()]
        for job in jobs:
            self.pusher.push([job])
        got = {r.id: r.payload for r in self.reserve(len(jobs))}
        assert got == {job.id: job.payload for job in jobs}

    def test_hostile_payloads_survive_a_push_in_bulk(self) -> None:
        jobs = [self.job(payload=body) for body in self._bodies() * 6]
        self.pusher.push(jobs)
        got = {r.id: r.payload for r in self.reserve(len(jobs))}
        assert got == {job.id: job.payload for job in jobs}

    def _bodies(self) -> list[str]:
        limit = self.capabilities.max_payload
        bodies = [*TEXTS, *(BYTES if self.any_bytes else ())]
        return [body for body in bodies if limit is None or len(body) * 4 <= limit]

    def test_many_jobs_are_pushed_at_once(self) -> None:
        jobs = [self.job() for _ in range(1203)]
        self.pusher.push(jobs)
        assert {r.id for r in self.reserve(1203)} == {job.id for job in jobs}
        assert self.nothing_is_left()

    def test_many_jobs_keep_their_order(self) -> None:
        self.needs("ordered")
        jobs = [self.job() for _ in range(250)]
        self.pusher.push(jobs)
        assert self.ids(self.reserve(250)) == [job.id for job in jobs]

    def test_one_push_may_go_to_several_queues_now_and_later(self) -> None:
        second = self.make_queue()
        queues = (self.queue, second)
        jobs = [self.job(queue=queues[i % 2], delay=(i % 3) * 600) for i in range(60)]
        self.pusher.push(jobs)
        found = self.reserve(20, queues=queues)
        assert {(r.id, r.queue) for r in found} == {(j.id, j.queue) for j in jobs if not j.delay}
        assert self.session.exchange([], queues, 10).reservations == []

    def test_pushing_an_id_again_changes_nothing(self) -> None:
        self.needs("idempotent_push")
        job = self.job()
        self.pusher.push([job])
        self.pusher.push([job._replace(payload="another", delay=60)])
        assert self.reserve()[0].payload == job.payload
        assert self.nothing_is_left()

    def test_pushing_the_id_of_a_running_job_changes_nothing(self) -> None:
        self.needs("idempotent_push")
        job = self.job()
        self.pusher.push([job])
        (reservation,) = self.reserve()
        self.pusher.push([job])
        assert self.nothing_is_left(self.other)
        assert self.settle(reservation) == set()
        assert self.nothing_is_left()

    def test_pushing_the_id_of_a_delayed_job_changes_nothing(self) -> None:
        self.needs("idempotent_push")
        job = self.job(delay=600)
        self.pusher.push([job])
        self.pusher.push([job._replace(delay=0)])
        assert self.nothing_is_left()

    def test_an_id_twice_in_one_push_is_one_job(self) -> None:
        self.needs("idempotent_push")
        jobs = [self.job() for _ in range(3)]
        self.pusher.push([*jobs, *jobs])
        assert self.ids(self.reserve(3)) == [job.id for job in jobs]
        assert self.nothing_is_left()

    def test_pushing_in_bulk_what_is_there_already_adds_the_rest(self) -> None:
        self.needs("idempotent_push")
        jobs = [self.job() for _ in range(120)]
        self.pusher.push(jobs[50:70])
        self.pusher.push(jobs)
        found = self.reserve(120)
        assert len(found) == 120
        assert {r.id for r in found} == {job.id for job in jobs}

    def test_the_id_of_a_job_that_is_over_may_be_pushed_again(self) -> None:
        job = self.job()
        self.pusher.push([job])
        self.settle(self.reserve()[0])
        self.pusher.push([job._replace(push_id=str(uuid.uuid4()))])
        (again,) = self.reserve()
        assert (again.id, again.attempt, again.history) == (job.id, 1, "")

    def test_a_payload_above_the_limit_is_not_the_drivers_to_cut(self) -> None:
        if self.capabilities.max_payload is None:
            raise SkipTest("this store has no limit")
        job = self.job(payload="x" * self.capabilities.max_payload)
        self.pusher.push([job])
        assert self.reserve()[0].payload == job.payload
