"""The guard rows: what refuses the end of a reservation that somebody else has taken over."""

from __future__ import annotations

import uuid

import pytest

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.guard import Found, Guard, Held, Standing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guard() -> Guard:
    return Guard("default")


def take(guard: Guard, id: str) -> Held:
    """Hand the job out, to a worker that knows nothing of it."""
    (guarded,) = guard.take([Found(id, "1")], {})
    assert guarded.standing in (Standing.READY, Standing.ORPHANED)
    return Held(id, guarded.number)


def put_back(guard: Guard, held: Held, verdict: Verdict) -> set[str]:
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    return guard.put_back([(Settlement(reservation, verdict, history="stale"), held.number)])


def test_whoever_was_taken_over_changes_nothing(guard: Guard) -> None:
    id = str(uuid.uuid4())
    stale, fresh = take(guard, id), take(guard, id)
    assert guard.end([stale]) == {id}
    for verdict in (Verdict.RELEASE, Verdict.RETURN, Verdict.INTERRUPTED):
        assert put_back(guard, stale, verdict) == {id}
    assert guard.extend([stale]) == {id}
    assert not guard.mark(stale, over=False)
    assert not guard.mark(stale, over=True)
    guard.forget([stale])
    assert guard.extend([fresh]) == set()
    assert guard.end([fresh]) == set()


def test_what_is_over_stays_over(guard: Guard) -> None:
    held = take(guard, str(uuid.uuid4()))
    assert guard.end([held]) == set()
    assert guard.end([held]) == set(), "an answer that got lost is no loss"
    assert put_back(guard, held, Verdict.RELEASE) == {held.id}
    assert guard.extend([held]) == {held.id}
    assert not guard.mark(held, over=False)


def test_what_was_put_back_is_held_by_nobody(guard: Guard) -> None:
    held = take(guard, str(uuid.uuid4()))
    assert put_back(guard, held, Verdict.RETURN) == set()
    assert guard.end([held]) == {held.id}
    assert guard.extend([held]) == {held.id}
    assert not guard.mark(held, over=True)
    assert take(guard, held.id).number > held.number


def test_what_ends_while_it_is_taken_over_stays_over(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = take(guard, str(uuid.uuid4()))
    other = Guard("default")
    read = other._known

    def read_then_ended(ids: list[str]) -> object:
        rows = read(ids)
        guard.end([held])
        return rows

    monkeypatch.setattr(other, "_known", read_then_ended)
    (guarded,) = other.take([Found(held.id, "1")], {})
    assert guarded.standing is Standing.BUSY
    (guarded,) = guard.take([Found(held.id, "1")], {})
    assert guarded.standing is Standing.OVER
