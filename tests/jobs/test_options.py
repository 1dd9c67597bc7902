"""Options are checked where they are written."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from djqueue import Job, exponential, job
from djqueue.errors import InvalidJob, JobTimeout, TimeoutExceeded
from djqueue.jobs.definition.durations import seconds_until
from djqueue.jobs.definition.options import OPTIONS, OptionKeywords, Options, Overrides, checked
from djqueue.middleware import RateLimited

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("connection", ""),
        ("queue", "a:b"),
        ("queue", "x" * 81),
        ("queue", "a b"),
        ("delay", -1),
        ("delay", "60"),
        ("delay", True),
        ("delay", float("nan")),
        ("delay", float("inf")),
        ("delay", timedelta(seconds=-1)),
        ("delay", datetime(2030, 1, 1)),
        ("priority", 101),
        ("priority", -101),
        ("priority", 1.5),
        ("tries", -1),
        ("tries", True),
        ("tries", "3"),
        ("max_exceptions", -1),
        ("max_interruptions", 0.5),
        ("backoff", []),
        ("backoff", [1, -1]),
        ("backoff", "10"),
        ("jitter", 1),
        ("retry_on", []),
        ("retry_on", "ConnectionError"),
        ("retry_on", ConnectionError()),
        ("fail_on", (ValueError, 3)),
        ("fail_on", TimeoutExceeded),
        ("fail_on", JobTimeout),
        ("middleware", len),
        ("middleware", ["shop.audit"]),
        ("middleware", [RateLimited]),
        ("timeout", -1),
        ("timeout", timedelta(seconds=3)),
        ("fail_on_timeout", 1),
        ("retry_until", datetime(2030, 1, 1)),
        ("after_commit", "yes"),
        ("delete_when_missing", 0),
        ("tags", "one"),
        ("tags", [1]),
        ("name", ""),
        ("aliases", "old.Name"),
        ("atomic", 1),
        ("atomic", ""),
        ("message_group", 7),
        ("deduplication_id", ""),
    ],
)
def test_a_value_that_cannot_work_is_refused(option, value):
    with pytest.raises(InvalidJob) as caught:
        checked({option: value}, "class X")
    assert str(caught.value).startswith(f"class X: {option} is {value!r}, not ")


@pytest.mark.parametrize(
    ("option", "value", "stored"),
    [
        ("queue", "{default}", "{default}"),
        ("delay", 0, 0),
        ("delay", NOON, NOON),
        ("priority", -100, -100),
        ("tries", 0, 0),
        ("backoff", 5, (5,)),
        ("backoff", exponential(3), exponential(3)),
        ("jitter", True, True),
        ("retry_on", OSError, (OSError,)),
        ("retry_on", [OSError, KeyError], (OSError, KeyError)),
        ("fail_on", (KeyboardInterrupt,), (KeyboardInterrupt,)),
        ("middleware", [len], (len,)),
        ("backoff", [10, 60.5], (10, 60.5)),
        ("timeout", 0, 0),
        ("tags", ["a", "b"], ("a", "b")),
        ("aliases", ("old.Name",), ("old.Name",)),
        ("atomic", "queue", "queue"),
        ("max_interruptions", None, 3),
        ("tries", None, None),
    ],
)
def test_a_value_is_kept_in_one_form(option, value, stored):
    assert checked({option: value}, "class X") == {option: stored}


@pytest.mark.parametrize("option", ["trys", "uniqe", "keep_result", "encrypt"])
def test_an_unknown_option_is_refused_with_all_that_are_known(option):
    with pytest.raises(InvalidJob, match=f"X has an unknown option '{option}'") as caught:

        class X(Job, name="test.X", **{option: 3}):
            def handle(self):
                pass

    assert "max_interruptions" in str(caught.value)


def test_a_misspelt_option_is_recognised():
    with pytest.raises(InvalidJob, match=r'@job .*unknown option .*Did you mean "tries"'):

        @job(name="test.x", trys=3)
        def x():
            pass


def test_using_refuses_options_of_the_class():
    class X(Job, name="test.X"):
        def handle(self):
            pass

    with pytest.raises(InvalidJob, match="atomic cannot be set for one dispatch"):
        X().using(atomic=True)
    with pytest.raises(InvalidJob, match='Did you mean "queue"'):
        X().using(queu="x")
    with pytest.raises(InvalidJob, match="priority is 1000, not a whole number from -100 to 100"):
        X().using(priority=1000)


def test_using_gives_a_copy_and_adds_to_what_was_used():
    class X(Job, name="test.X"):
        a: int

        def handle(self):
            pass

    plain = X(1)
    first = plain.using(queue="a", tries=2)
    second = first.using(queue="b")
    assert (plain._using, first._using) == ({}, {"queue": "a", "tries": 2})
    assert second._using == {"queue": "b", "tries": 2}
    assert second.a == 1
    assert second == plain


def test_the_keywords_that_type_checkers_know_are_the_options():
    assert set(OptionKeywords.__annotations__) | set(Overrides.__annotations__) == set(OPTIONS)
    assert set(vars(Options())) == set(OPTIONS)


def test_when_is_counted_from_the_dispatch():
    now = NOON.timestamp()
    assert seconds_until(60, now) == 60
    assert seconds_until(timedelta(minutes=1), now) == 60
    assert seconds_until(NOON + timedelta(hours=1), now) == 3600
    assert seconds_until(NOON - timedelta(hours=1), now) == 0
