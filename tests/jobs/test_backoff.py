"""Delays that double, jitter, and how they are stored."""

from __future__ import annotations

import pytest

from djqueue import Job, exponential
from djqueue.errors import InvalidJob, InvalidPayload
from djqueue.operations.describe import options_of
from djqueue.payload.backoff import Exponential, delay_after
from djqueue.payload.payload import Limits, encode_head, known_head, with_limits

BODY = ',"id":"1","sent":1.0,"arguments":{}}'


def through_payload(limits):
    return known_head(encode_head("app.thing", limits) + BODY).head.limits


def test_delays_double_up_to_the_maximum():
    delays = [delay_after(exponential(jitter=False), n, False, 0.5) for n in range(1, 12)]
    assert delays == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert delay_after(exponential(30, 100), 2, False, 0) == 60
    assert delay_after(exponential(), 10**6, False, 0) == 600


@pytest.mark.parametrize("backoff", [exponential(10), (10.0,)])
def test_jitter_takes_up_to_a_half(backoff):
    assert delay_after(backoff, 1, True, 0.0) == 10
    assert delay_after(backoff, 1, True, 0.5) == 7.5
    assert delay_after(backoff, 1, True, 1.0) == 5


def test_the_last_delay_repeats_and_none_is_no_wait():
    assert [delay_after((1, 5), attempt, False, 1) for attempt in (1, 2, 3)] == [1, 5, 5]
    assert delay_after((), 3, True, 1) == 0


@pytest.mark.parametrize(
    "given",
    [{"base": 0}, {"base": "2"}, {"maximum": -1}, {"base": 9, "maximum": 3}, {"base": True}],
)
def test_what_cannot_work_is_refused_where_it_is_written(given):
    with pytest.raises(InvalidJob, match=r"exponential\("):
        exponential(**given)


@pytest.mark.parametrize("backoff", [None, (), (1, 60.5), Exponential(), Exponential(3, 9, False)])
@pytest.mark.parametrize("jitter", [True, False])
def test_it_travels_in_the_payload(backoff, jitter):
    limits = Limits(backoff=backoff, jitter=jitter)
    assert through_payload(limits) == limits


def test_nothing_is_stored_that_the_job_does_not_say():
    assert encode_head("app.thing", Limits()) == '{"v":1,"name":"app.thing","options":{}'


@pytest.mark.parametrize(
    "written",
    ['{"base":2}', '{"base":-1,"maximum":3,"jitter":true}', '{"base":2,"maximum":9,"jitter":1}'],
)
def test_damage_is_found(written):
    text = f'{{"v":1,"name":"a.b","options":{{"backoff":{written}}}{BODY}'
    assert known_head(text) is None
    from djqueue.payload.payload import decode

    with pytest.raises(InvalidPayload):
        decode(text)


def test_a_retry_takes_those_of_the_code():
    old = encode_head("app.thing", Limits(backoff=(5,))) + BODY
    new = with_limits(old, Limits(backoff=exponential(), jitter=True))
    assert known_head(new).head.limits == Limits(backoff=exponential(), jitter=True)


class Flaky(
    Job,
    name="test.jobs.Flaky",
    backoff=exponential(),
    retry_on=(OSError, KeyError),
    fail_on=FileNotFoundError,
):
    def handle(self):
        pass


class Surer(Flaky, name="test.jobs.Surer", retry_on=None, fail_on=None):
    pass


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError(), True),
        (ConnectionError(), True),
        (FileNotFoundError(), False),
        (TypeError(), False),
    ],
)
def test_the_exceptions_that_are_worth_another_try(error, answer):
    assert Flaky._spec.may_retry(error) is answer
    assert Surer._spec.may_retry(error)


def test_using_takes_it_too():
    assert Flaky().using(backoff=exponential(9)).backoff() == exponential(9)


def test_operators_see_it():
    shown = options_of(Limits(backoff=exponential(9), jitter=True))
    assert shown == {"backoff": {"base": 9, "maximum": 600, "jitter": True}, "jitter": True}
