"""How reserved jobs are dealt out to children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from djqueue.drivers.base import Reservation
from djqueue.payload.payload import Limits, encode, encode_head
from djqueue.worker.buffer import Buffer
from djqueue.worker.children.process import Process


class Child:
    """What `Buffer` sees of a child."""

    def __init__(self) -> None:
        self.held: dict[str, Reservation] = {}
        self.takes_work = True
        self.windows: list[str] = []

    def hand_over(self, window: Sequence[Reservation], *, alone: bool = False) -> None:
        """Remember the window, as letters."""
        self.held.update((reservation.id, reservation) for reservation in window)
        self.takes_work = not alone
        self.windows.append("".join(reservation.id for reservation in window))


def children(count: int) -> tuple[list[Child], list[Process]]:
    made = [Child() for _ in range(count)]
    return made, cast("list[Process]", made)


def job(id: str, *, interruptions: int = 0, max_interruptions: int = 3) -> Reservation:
    head = encode_head("app.record", Limits(max_interruptions=max_interruptions))
    return Reservation(id, "q", "app.record", encode(head, id, 1.0, {}), 1, interruptions, "", 1)


def buffer_of(*jobs: Reservation) -> Buffer:
    buffer = Buffer()
    buffer.add(jobs)
    return buffer


def test_jobs_are_dealt_evenly_and_in_order():
    made, able = children(2)
    assert buffer_of(*map(job, "abcde")).hand_out_jobs(able, 10) == 5
    assert [child.windows for child in made] == [["abc"], ["de"]]


def test_a_child_gets_no_more_than_it_may_hold():
    made, able = children(1)
    buffer = buffer_of(*map(job, "abcde"))
    buffer.hand_out_jobs(able, 2)
    assert made[0].windows == ["ab"]
    assert [reservation.id for reservation in buffer.drain()] == ["c", "d", "e"]
    assert not buffer.jobs


def test_a_job_with_an_interruption_goes_alone():
    (child,), able = children(1)
    buffer = buffer_of(job("a"), job("b", interruptions=1), job("c"))
    assert buffer.saw_exclusive_job
    buffer.hand_out_jobs(able, 10)
    assert child.windows == ["a"]
    child.held.clear()
    buffer.hand_out_jobs(able, 10)
    buffer.hand_out_jobs(able, 10)
    assert child.windows == ["a", "b"]
    assert not child.takes_work
    child.held.clear()
    child.takes_work = True
    buffer.hand_out_jobs(able, 10)
    assert child.windows == ["a", "b", "c"]


def test_a_job_that_allows_no_interruption_goes_alone():
    (child,), able = children(1)
    buffer_of(job("a", max_interruptions=0), job("b")).hand_out_jobs(able, 10)
    assert child.windows == ["a"]


def test_a_job_that_was_taken_back_still_goes_alone():
    (child,), able = children(1)
    buffer = buffer_of(job("c"))
    buffer.put_first([job("a"), job("b", interruptions=1)])
    buffer.hand_out_jobs(able, 10)
    assert child.windows == ["a"]


def test_what_was_given_back_is_judged_anew_when_it_comes_again():
    (child,), able = children(1)
    buffer = buffer_of(job("a", interruptions=1))
    buffer.drain()
    buffer.add([job("a"), job("b")])
    buffer.hand_out_jobs(able, 10)
    assert child.windows == ["ab"]
