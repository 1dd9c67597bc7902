"""Mistakes that people make first are told with the spelling that works."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils.functional import SimpleLazyObject

from djqueue import Job, dispatch, job
from djqueue.dispatch.dispatch import prepare
from djqueue.errors import InvalidJob, NotSerializable


@job(name="tests.hints_add")
def add(a: Any, b: int = 0) -> int:
    return a + b


class Thing(Job, name="tests.hints_thing"):
    a: int = 0

    def handle(self) -> None: ...


LAST = datetime.max.replace(tzinfo=timezone.utc)
TOO_LATE = [
    LAST,
    LAST.replace(tzinfo=timezone(timedelta(hours=-12))),
    LAST.replace(tzinfo=timezone(timedelta(hours=12))),
    datetime(2150, 1, 1, tzinfo=timezone.utc),
]


@pytest.mark.parametrize("moment", TOO_LATE, ids=str)
@pytest.mark.parametrize("option", ["delay", "retry_until"])
def test_a_moment_that_no_store_can_hold_is_refused(moment, option):
    with pytest.raises(InvalidJob, match=r"at most 2147483647 seconds \(68 years\) from now"):
        job(name="tests.hints_late", **{option: moment})(lambda_with_name)
    if option == "delay":
        with pytest.raises(InvalidJob, match="68 years"):
            add.using(delay=moment)


def lambda_with_name() -> None: ...


def test_a_moment_that_a_method_gives_is_refused_too():
    class Late(Job, name="tests.hints_late_method"):
        def handle(self) -> None: ...

        def retry_until(self) -> datetime:
            return LAST

    with pytest.raises(InvalidJob, match="68 years"):
        prepare(Late(), Late._spec)


@pytest.mark.parametrize("zone", [-12, 0, 12])
def test_the_first_moment_there_is_has_passed(zone):
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=zone)))
    assert prepare(*_bound(add.using(delay=first).bind(1))).outgoing.delay == 0


def _bound(bound: Job) -> Any:
    return bound, bound._spec


@pytest.mark.parametrize("method", ["backoff", "retry_until", "tags", "display_name"])
def test_a_method_whose_value_is_needed_at_once_is_not_async(method):
    async def asynchronous(self: Any) -> Any: ...

    def generator(self: Any) -> Any:
        yield 1

    for function, word in ((asynchronous, "async"), (generator, "yield")):
        body = {"handle": lambda self: None, method: function}
        with pytest.raises(InvalidJob, match=rf"{method}\(\).* {word}"):
            type(Job)("Wrong", (Job,), body, name="tests.hints_wrong")


@pytest.mark.parametrize("first", ["self", "cls"])
def test_a_method_is_no_job(first):
    source = f"class C:\n    @job(name='tests.hints_method')\n    def m({first}, x): pass"
    with pytest.raises(InvalidJob, match=f"{first} of a method cannot be queued"):
        exec(source, {"job": job, "__name__": __name__})


def test_a_function_that_calls_its_argument_self_is_one():
    @job(name="tests.hints_self")
    def tells(self: int) -> int:
        return self

    assert tells.dispatch_sync(3) == 3


def test_an_option_among_the_arguments():
    call: Any = add.dispatch
    with pytest.raises(TypeError, match=r"delay is an option: add\.using\(delay=…\)\.dispatch"):
        call(1, delay=5)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (lambda: add.delay(1), r"as in add\.dispatch"),
        (lambda: add.on_queue("x"), r'add\.using\(queue="high"\)'),
        (lambda: Thing(1).delay(), r"as in Thing\(…\)\.dispatch"),
        (lambda: Thing(1).on_queue("x"), r"Thing\(…\)\.using"),
    ],
)
def test_a_way_of_other_queues(wrong, right):
    with pytest.raises(AttributeError, match=right):
        wrong()


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"bind": True}, r"current_job\(\)"),
        ({"max_retries": 3}, "tries"),
        ({"backoff": "exponential"}, r"a list of them: \[10, 60, 600\]"),
        ({"backoff": []}, r"a list of them"),
    ],
)
def test_an_option_of_other_queues(options, hint):
    with pytest.raises(InvalidJob, match=hint):
        job(name="tests.hints_option", **options)(lambda_with_name)


def test_a_queue_in_the_place_of_the_function():
    with pytest.raises(InvalidJob, match=r"@job\(queue='mail'\)"):
        job("mail")


def test_a_handler_with_another_name():
    class Misspelt(Job, name="tests.hints_misspelt"):
        def handel(self) -> None: ...

    with pytest.raises(TypeError, match=r'Misspelt is abstract.*it has no handle.*"handel"'):
        dispatch(Misspelt())


def test_dispatching_from_the_class():
    with pytest.raises(TypeError, match=r"not as in SendReceipt\.dispatch\(order\)"):
        Thing.dispatch(object())


@pytest.mark.parametrize("user", [AnonymousUser(), SimpleLazyObject(AnonymousUser)], ids=type)
def test_an_anonymous_user_has_no_row(user):
    with pytest.raises(NotSerializable, match="The user is anonymous"):
        prepare(*_bound(add.bind(user)))
