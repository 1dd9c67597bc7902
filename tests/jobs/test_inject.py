"""``Inject``: what a job needs beside its arguments."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial

import pytest

from djqueue import Inject, Job
from djqueue.errors import InvalidJob
from djqueue.jobs.inject import markers

seen: list[str] = []


@pytest.fixture(autouse=True)
def _unseen():
    seen.clear()


def opened():
    seen.append("open")
    try:
        yield "resource"
    except ValueError as error:
        seen.append(f"saw {error}")
        raise
    finally:
        seen.append("closed")


def test_it_is_made_at_each_run_and_by_a_direct_call():
    numbers = iter(range(9))

    class Count(Job, name="test.Count"):
        def handle(self, number: int = Inject(lambda: next(numbers))) -> int:
            return number

    assert [Count().handle(), Count().handle(), Count().dispatch_sync()] == [0, 1, 2]
    assert Count().handle(77) == 77
    assert Count().handle(number=77) == 77


def test_it_is_no_field():
    class Plain(Job, name="test.Plain"):
        a: int

        def handle(self, number: int = Inject(int)) -> None:
            pass

    with pytest.raises(TypeError, match="unexpected keyword argument 'number'"):
        Plain(1, number=2)
    assert Plain._spec.encode(Plain(1)) == {"a": 1}


@pytest.mark.parametrize("factory", [opened, contextmanager(opened), partial(opened)])
def test_a_generator_is_closed_when_the_job_has_run(factory):
    class Use(Job, name="test.Use"):
        def handle(self, resource: str = Inject(factory)) -> list[str]:
            assert resource == "resource"
            return list(seen)

    assert Use().dispatch_sync() == ["open"]
    assert seen == ["open", "closed"]


def test_a_generator_sees_the_jobs_error():
    class Fail(Job, name="test.Fail"):
        def handle(self, resource: str = Inject(opened)) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Fail().dispatch_sync()
    assert seen == ["open", "saw no", "closed"]


def test_a_generator_stays_open_while_a_coroutine_runs():
    class Later(Job, name="test.Later"):
        async def handle(self, resource: str = Inject(opened)) -> list[str]:
            await asyncio.sleep(0)
            return list(seen)

    assert Later().dispatch_sync() == ["open"]
    assert seen == ["open", "closed"]
    seen.clear()
    assert asyncio.run(Later().handle()) == ["open"]
    assert seen == ["open", "closed"]


def test_a_child_class_may_call_its_parents_handle():
    class Parent(Job, name="test.Parent"):
        def handle(self, one: int = Inject(lambda: 1)) -> int:
            return one

    class Child(Parent, name="test.Child"):
        def handle(self, two: int = Inject(lambda: 2)) -> int:
            return super().handle() + two

    assert Child().dispatch_sync() == 3


async def coroutine():
    pass


async def generator():
    yield


@pytest.mark.parametrize("factory", [coroutine, generator])
def test_an_async_factory_is_refused(factory):
    with pytest.raises(InvalidJob, match="async"):
        Inject(factory)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(InvalidJob, match="a function that makes the value"):
        Inject(3)


def test_the_marker_shows_its_factory_in_signatures():
    def handle(a=Inject(opened)):
        pass

    assert repr(markers(handle)["a"]) == "Inject(opened)"
