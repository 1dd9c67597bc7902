"""``dispatch_many``: any number of jobs in bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest

from djqueue import dispatch_many
from djqueue.errors import NotSerializable, QueueUnavailable
from tests.dispatch.jobs import Optioned, Write, add, ran
from tests.dispatch.memory import MemoryDriver


def test_it_returns_how_many(memory):
    assert dispatch_many([]) == 0
    assert dispatch_many(Write(str(number)) for number in range(3)) == 3
    assert len({job.id for job in memory}) == 3


def test_jobs_are_pushed_a_thousand_at_a_time_in_order(memory):
    assert dispatch_many(Optioned(number) for number in range(2001)) == 2001
    assert MemoryDriver.pushes == [1000, 1000, 1]
    assert [job.message_group for job in memory] == [f"group-{number}" for number in range(2001)]


def test_each_goes_to_its_own_connection(memory):
    dispatch_many(
        [
            Write("a"),
            Write("b").using(connection="sync"),
            Write("c").using(connection="eager"),
            Write("d").using(queue="other"),
            add.using(connection="null").bind(1),
        ]
    )
    assert [job.queue for job in memory] == ["kept", "other"]
    assert len(MemoryDriver.stores["eager"]) == 1
    assert ran == ["b"]


def test_a_chunk_is_checked_before_any_of_it_is_written(memory):
    jobs = [Write(str(number)) for number in range(1500)]
    jobs[1200] = Write(object())
    with pytest.raises(NotSerializable):
        dispatch_many(jobs)
    assert len(memory) == 1000


def test_what_is_no_job_is_a_type_error(memory):
    with pytest.raises(TypeError, match="is not a job"):
        dispatch_many([Write(), 3])
    assert memory == []


def test_an_error_of_the_store_reaches_the_caller(memory):
    with pytest.raises(QueueUnavailable):
        dispatch_many([Write().using(queue="down")])


def test_an_error_of_the_iterable_reaches_the_caller(memory):
    def jobs():
        yield Write()
        raise LookupError

    with pytest.raises(LookupError):
        dispatch_many(jobs())
    assert memory == []


@pytest.mark.slow
def test_memory_stays_bounded_however_many_there_are():
    def most(number):
        tracemalloc.start()
        try:
            jobs = (Write("x" * 1000).using(connection="null") for _ in range(number))
            assert dispatch_many(jobs) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(1000)
    assert most(20_000) < 1.5 * most(2000)
