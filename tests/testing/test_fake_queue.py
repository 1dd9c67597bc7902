"""`fake_queue` records what is dispatched, and no store ever hears of it.

No test here is marked for a database: pytest-django refuses every query.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import unittest

import pytest

from djqueue import dispatch_many, dispatch_sync
from djqueue.dispatch.recording import recorders
from djqueue.errors import NotSerializable
from djqueue.testing import fake_queue
from tests.testing import jobs
from tests.testing.jobs import Fail, Write, WriteTwice, greet


def test_it_records_and_nothing_runs():
    with fake_queue() as queue:
        Write("a").dispatch()
        greet.dispatch("you", loudly=True)
    assert [str(each) for each in queue.recorded] == [
        "Write(text='a', copies=1) on database:notes",
        "greet(who='you', loudly=True) on database:mail",
    ]
    assert jobs.ran == []


def test_it_records_on_every_connection_also_where_jobs_run_at_once():
    with fake_queue() as queue:
        for name in ("database", "sync", "null"):
            Write("a").using(connection=name).dispatch()
    assert [each.connection for each in queue.recorded] == ["database", "sync", "null"]
    assert jobs.ran == []


def test_it_records_where_and_when_the_job_was_to_run():
    with fake_queue() as queue:
        greet.using(queue="high", delay=60).dispatch("you")
    (recorded,) = queue.recorded
    assert (recorded.queue, recorded.delay) == ("high", 60)
    assert str(recorded).endswith("on database:high, 60 s later")


def test_it_records_every_way_to_dispatch():
    with fake_queue() as queue:
        asyncio.run(Write("a").adispatch())
        assert dispatch_many(Write(text) for text in "bcd") == 3
        thread = threading.Thread(target=lambda: Write("e").dispatch())
        thread.start()
        thread.join()
    assert [job.text for job in queue.dispatched(Write)] == list("abcde")


def test_it_records_many_in_order_wherever_they_go():
    places = ("database", "null", "database")
    with fake_queue() as queue:
        dispatch_many(Write("a").using(connection=name) for name in places)
    assert [each.connection for each in queue.recorded] == list(places)


def test_dispatch_sync_runs_all_the_same():
    with fake_queue() as queue:
        dispatch_sync(greet.bind("you"))
    assert jobs.ran == ["you"]
    queue.assert_nothing_dispatched()


def test_arguments_are_checked_as_ever():
    with fake_queue() as queue:
        with pytest.raises(NotSerializable):
            greet.dispatch(object())
        with pytest.raises(TypeError):
            greet.dispatch("you", loud=True)
    queue.assert_nothing_dispatched()


def test_the_answer_knows_the_job_without_a_store():
    with fake_queue() as queue:
        waiting = Write("a").dispatch()
        delayed = Write("b").using(delay=5).dispatch()
        assert [waiting.created, waiting.status, delayed.status] == [True, "waiting", "delayed"]
        assert queue.recorded[0].id == waiting.id
        assert waiting.cancel()
        assert not waiting.cancel()
        assert waiting.status == "unknown"
        queue.assert_dispatched(Write, times=2)


def test_the_inner_one_records_and_the_outer_one_goes_on():
    with fake_queue() as outer:
        with fake_queue() as inner:
            Write("a").dispatch()
        Write("b").dispatch()
    assert [job.text for job in inner.dispatched(Write)] == ["a"]
    assert [job.text for job in outer.dispatched(Write)] == ["b"]
    assert recorders.innermost is None


def test_they_may_end_in_any_order():
    first, second = fake_queue(), fake_queue()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    Write("a").dispatch()
    second.__exit__(None, None, None)
    assert (len(first.recorded), len(second.recorded)) == (0, 1)
    assert recorders.innermost is None


# -- assertions ------------------------------------------------------------------------------------


def test_what_was_dispatched_passes():
    with fake_queue() as queue:
        queue.assert_nothing_dispatched()
        Write("a").dispatch()
        Write("b", copies=2).dispatch()
        greet.dispatch("you")
    queue.assert_dispatched(Write)
    queue.assert_dispatched(Write, times=2)
    queue.assert_dispatched(Write, where=lambda job: job.copies == 2)
    queue.assert_dispatched(Write, times=1, where=lambda job: job.text == "a")
    queue.assert_dispatched(greet, times=1, where=lambda job: job.who == "you")
    queue.assert_not_dispatched(Write, where=lambda job: job.text == "c")
    queue.assert_not_dispatched(Fail)


def test_a_subclass_is_one_of_them():
    with fake_queue() as queue:
        WriteTwice("a").dispatch()
    queue.assert_dispatched(Write)
    queue.assert_dispatched(WriteTwice)


def message(assertion, *args, **kwargs) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **kwargs)
    return str(caught.value)


@pytest.fixture
def recorded():
    with fake_queue() as queue:
        greet.using(delay=60).dispatch("you")
        Write("a").dispatch()
        Write("b", copies=2).dispatch()
        yield queue


def test_what_was_not_dispatched_shows_what_was_nearest_name_first(recorded):
    assert message(recorded.assert_dispatched, WriteTwice).splitlines() == [
        "WriteTwice was not dispatched.",
        "Dispatched instead, nearest first:",
        "  Write(text='a', copies=1) on database:notes",
        "  Write(text='b', copies=2) on database:notes",
        "  greet(who='you', loudly=False) on database:mail, 60 s later",
    ]


def test_a_condition_that_fails_shows_the_same_job_otherwise(recorded):
    text = message(recorded.assert_dispatched, Write, where=lambda job: job.copies == 3)
    assert text.splitlines() == [
        "Write, where where= holds, was not dispatched.",
        "Nearest, 2 dispatches of it otherwise:",
        "  Write(text='a', copies=1) on database:notes",
        "  Write(text='b', copies=2) on database:notes",
    ]


def test_a_wrong_number_shows_the_dispatches_that_count(recorded):
    text = message(recorded.assert_dispatched, Write, times=3)
    assert text.startswith(
        "Write was dispatched twice, not 3 times.\nDispatched:\n  Write(text='a'"
    )
    text = message(recorded.assert_dispatched, Write, times=2, where=lambda job: job.text == "a")
    assert text.splitlines() == [
        "Write, where where= holds, was dispatched once, not twice.",
        "Dispatched:",
        "  Write(text='a', copies=1) on database:notes",
    ]
    text = message(recorded.assert_dispatched, Fail, times=1)
    assert text.startswith("Fail was dispatched not at all, not once.")


def test_what_was_dispatched_and_should_not_have_been_is_shown(recorded):
    text = message(recorded.assert_not_dispatched, Write, where=lambda job: job.text == "b")
    assert text.splitlines() == [
        "Write, where where= holds, was dispatched once.",
        "Dispatched:",
        "  Write(text='b', copies=2) on database:notes",
    ]
    text = message(recorded.assert_nothing_dispatched)
    assert text.startswith("3 jobs were dispatched.\nDispatched:\n  greet(who='you'")


def test_long_lists_are_cut_short():
    with fake_queue() as queue:
        dispatch_many(Write(str(number)) for number in range(30))
    assert message(queue.assert_not_dispatched, Write).endswith("  and 20 more")


def test_nothing_is_said_to_be_nothing():
    with fake_queue() as queue:
        pass
    text = message(queue.assert_dispatched, Write)
    assert text == "Write was not dispatched.\nNothing was dispatched."


def test_only_jobs_can_be_asked_for():
    queue = fake_queue()
    with pytest.raises(TypeError, match="give its class, Write"):
        queue.assert_dispatched(Write("a"))
    with pytest.raises(TypeError, match="neither a job class nor a function"):
        queue.assert_dispatched("Write")


# -- run -------------------------------------------------------------------------------------------


def test_run_runs_each_once_in_order_with_what_they_dispatch():
    with fake_queue() as queue:
        greet.using(delay=3600).dispatch("first")
        jobs.pass_on.dispatch("x")
        Write("cancelled", copies=0).dispatch().cancel()
        greet.dispatch("last")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Write, "handle", lambda job: jobs.ran.append(job.text))
            assert queue.run() == 4
            assert queue.run() == 0
    assert jobs.ran == ["first", "pass_on", "last", "x"]
    queue.assert_dispatched(Write, times=2)


def test_run_also_works_behind_the_block():
    with fake_queue() as queue:
        greet.dispatch("you")
    assert queue.run() == 1
    assert recorders.innermost is None


def test_run_lets_an_error_through(monkeypatch):
    monkeypatch.setattr(Fail, "handle", lambda job: 1 / 0)
    with fake_queue() as queue:
        Fail().dispatch()
        greet.dispatch("you")
        with pytest.raises(ZeroDivisionError):
            queue.run()
        assert jobs.ran == ["failed: division by zero"]
        assert queue.run() == 1


# -- decorators ------------------------------------------------------------------------------------


@fake_queue()
def test_a_function_needs_not_take_it():
    Write("a").dispatch()


@fake_queue
def test_without_brackets_too():
    Write("a").dispatch()


@pytest.mark.parametrize("text", ["a", "b"])
@fake_queue()
def test_a_parameter_of_its_name_is_filled(text, fake_queue):
    Write(text).dispatch()
    fake_queue.assert_dispatched(Write, times=1, where=lambda job: job.text == text)


def test_the_argument_that_a_call_lacks_is_the_fake():
    @fake_queue()
    def check(text, queue):
        Write(text).dispatch()
        queue.assert_dispatched(Write, times=1)

    check("a")
    check("b")


def test_a_coroutine_is_recorded_until_its_end():
    @fake_queue()
    async def check(queue):
        await asyncio.sleep(0)
        await Write("a").adispatch()
        queue.assert_dispatched(Write)

    assert inspect.iscoroutinefunction(check)
    asyncio.run(check())


@fake_queue()
class TestsOfAClass(unittest.TestCase):
    def setUp(self):
        self.recorded = None

    def test_each_has_one_of_its_own(self, queue):
        Write("a").dispatch()
        queue.assert_dispatched(Write, times=1)

    def test_another(self, fake_queue):
        Write("a").dispatch()
        fake_queue.assert_dispatched(Write, times=1)

    def test_without_the_argument(self):
        Write("a").dispatch()


def test_the_fake_is_gone_after_an_error():
    @fake_queue()
    def check():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check()
    assert recorders.innermost is None
