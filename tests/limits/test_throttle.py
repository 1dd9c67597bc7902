"""`throttle`: never more than it allows in any period."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from djqueue.errors import LimitReached, QueueUnavailable
from djqueue.limits import throttle
from djqueue.limits.database import DatabaseStore
from djqueue.limits.throttle import rate
from djqueue.models import Slot
from djqueue.operations.pruning import prune
from djqueue.runner.current import CurrentJob, current
from tests.limits.coroutines import run


def uses(key, allow, every, tries):
    """How many of so many tries pass."""
    passed = 0
    for _ in range(tries):
        try:
            with throttle(key, allow, every):
                passed += 1
        except LimitReached:
            pass
    return passed


@pytest.fixture
def in_job():
    """As within a running job."""
    token = current.set(CurrentJob("0f0e…", "shop.Pack", "default", "database", 1))
    yield current.get()
    current.reset(token)


def test_so_many_pass_and_no_more(limits):
    assert uses("mail", 5, 60, 8) == 5
    assert uses("other", 1, 60, 2) == 1


def test_each_use_comes_back_when_its_period_is_over(limits):
    assert uses("mail", 2, 0.3, 5) == 2
    time.sleep(0.31)
    assert uses("mail", 2, 0.3, 5) == 2


def test_a_refusal_says_when_to_come_again(limits):
    uses("mail", 1, 10, 1)
    with pytest.raises(LimitReached, match=r'limit "mail" is reached: 1 every 10 s') as caught:
        throttle("mail", 1, timedelta(seconds=10)).__enter__()
    assert 9 < caught.value.retry_in <= 10


def test_it_waits_for_as_long_as_it_may(limits):
    uses("mail", 1, 0.3, 1)
    began = time.monotonic()
    with throttle("mail", 1, 0.3, block=5):
        assert 0.2 < time.monotonic() - began < 2
    with pytest.raises(LimitReached), throttle("mail", 1, 60, block=0.1):
        pass


def test_it_works_in_coroutines(limits):
    async def use():
        async with throttle("mail", 1, 60):
            pass

    run(use())
    with pytest.raises(LimitReached):
        run(use())


def test_what_raises_inside_has_used_it(limits):
    with pytest.raises(ZeroDivisionError), throttle("mail", 1, 60):
        raise ZeroDivisionError
    assert uses("mail", 1, 60, 1) == 0


def test_a_limit_that_is_lowered_or_raised_holds_at_once(limits):
    assert uses("mail", 4, 60, 4) == 4
    assert uses("mail", 2, 60, 1) == 0
    assert uses("mail", 6, 60, 9) == 2


def test_jobs_that_are_refused_are_given_one_time_after_another(limits, in_job):
    uses("mail", 2, 10, 2)
    times = []
    for _ in range(20):
        with pytest.raises(LimitReached) as caught:
            throttle("mail", 2, 10).__enter__()
        times.append(caught.value.retry_in)
    # Five seconds apart, up to a minute ahead; the others somewhere in the half minute behind it.
    assert [round(one / 5) for one in times[:11]] == list(range(2, 13))
    assert all(60 <= one <= 90 for one in times[11:])


def test_of_many_uses_a_row_stands_for_several(transactional_db):
    store = DatabaseStore("default", most_rows=4)
    many = rate("api", 10, 600)
    assert [store.take(many) is None for _ in range(9)] == [True] * 9
    assert store.look(many) == 0
    assert [store.take(many) is None for _ in range(3)] == [True, False, False]
    assert sorted(Slot.objects.values_list("place", "uses")) == [(0, 3), (1, 3), (2, 2), (3, 2)]
    assert 500 < store.look(many) <= 600


def test_a_row_that_stands_for_several_uses_is_free_a_period_after_the_last(transactional_db):
    store = DatabaseStore("default", most_rows=1)
    few = rate("api", 2, 0.4)
    store.take(few)
    time.sleep(0.3)
    store.take(few)
    time.sleep(0.2)
    assert store.take(few) is not None
    time.sleep(0.3)
    assert store.take(few) is None


def test_a_job_waits_for_a_moment_rather_than_go_back_to_its_queue(limits, in_job):
    uses("mail", 1, 0.09, 1)
    with throttle("mail", 1, 0.09):
        pass


def test_rows_that_are_long_free_are_pruned_and_appear_again(transactional_db):
    assert uses("mail", 3, 60, 3) == 3
    assert uses("old", 3, 60, 3) == 3
    long_ago = timezone.now() - timedelta(days=1)
    Slot.objects.filter(name="throttle:mail", place=1).update(free_at=long_ago, taken_at=long_ago)
    prune()
    assert sorted(Slot.objects.filter(name="throttle:mail").values_list("place")) == [(0,), (2,)]
    assert uses("mail", 3, 60, 3) == 1
    assert uses("old", 3, 60, 3) == 0


def test_it_can_be_looked_at_and_cleared(limits):
    one = rate("mail", 2, 60)
    assert limits.look(one) == 0
    assert not limits.used(one)
    limits.take(one)
    assert limits.look(one) == 0
    assert limits.used(one)
    limits.take(one)
    assert 50 < limits.look(one) <= 60
    limits.clear(one.name)
    assert limits.look(one) == 0
    assert not limits.used(one)


def test_a_rollback_takes_no_use_back(transactional_db):
    if connection.vendor == "sqlite":
        pytest.skip("its one writer is the transaction")
    with transaction.atomic():
        Slot.objects.exists()
        assert uses("mail", 1, 60, 1) == 1
        transaction.set_rollback(True)
    assert uses("mail", 1, 60, 1) == 0


def test_an_open_transaction_keeps_nobody_waiting(transactional_db):
    with transaction.atomic():
        assert uses("mail", 2, 60, 3) == 2
    assert uses("mail", 2, 60, 1) == 0


@pytest.mark.parametrize(
    "given",
    [
        ("mail", 0, 1),
        ("mail", 1.5, 1),
        ("mail", True, 1),
        ("mail", 1, 0),
        ("mail", 1, float("nan")),
        ("mail", 1, "1"),
        ("mail", 1, 1e9),
        ("mail", 1, 1, -1),
    ],
)
def test_what_cannot_work_is_refused(given):
    with pytest.raises(ValueError, match="cannot work"):
        throttle(*given)


@pytest.mark.parametrize("key", ["", 3, None])
def test_a_key_is_a_text(key):
    with pytest.raises(TypeError, match="key is a text"):
        throttle(key, 1, 1)


def test_long_and_odd_keys_are_kept_apart(limits):
    assert uses("x" * 500 + "a", 1, 60, 1) == 1
    assert uses("x" * 500 + "b", 1, 60, 1) == 1
    assert uses("x" * 500 + "a", 1, 60, 1) == 0
    assert uses("Mail\0 ü", 1, 60, 2) == 1
    assert uses("mail\0 ü", 1, 60, 2) == 1


def test_a_store_that_is_away_is_said_so(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "limits": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        },
    }
    settings.DJQUEUE = {"LIMITS": {"CACHE": "limits"}}
    with pytest.raises(QueueUnavailable, match='limits in the cache "limits"'):
        throttle("mail", 1, 1).__enter__()
