"""The guard rows: what refuses the end of a reservation that somebody else has taken over."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.guard import Found, Guard, Held, Standing
from djqueue.models import Run
from djqueue.operations.pruning import prune
from djqueue.payload.ids import new_push_id

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "queue"])


@pytest.fixture
def guard():
    return Guard("default")


def take(guard: Guard, id: str) -> Held:
    """Hand the job out, to a worker that knows nothing of it."""
    (guarded,) = guard.take([Found(id, "1")], {})
    assert guarded.standing in (Standing.READY, Standing.ORPHANED)
    return Held(id, guarded.number)


def put_back(guard: Guard, held: Held, verdict: Verdict) -> set[str]:
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    return guard.put_back([(Settlement(reservation, verdict, history="stale"), held.number)])


def test_whoever_was_taken_over_changes_nothing(guard):
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


def test_what_is_over_stays_over(guard):
    held = take(guard, str(uuid.uuid4()))
    assert guard.end([held]) == set()
    assert guard.end([held]) == set(), "an answer that got lost is no loss"
    assert put_back(guard, held, Verdict.RELEASE) == {held.id}
    assert guard.extend([held]) == set(), "nobody else has it"
    assert not guard.mark(held, over=False)


def test_what_was_put_back_is_held_by_nobody(guard):
    held = take(guard, str(uuid.uuid4()))
    assert put_back(guard, held, Verdict.RETURN) == set()
    assert guard.end([held]) == {held.id}
    assert guard.extend([held]) == {held.id}
    assert not guard.mark(held, over=True)
    assert take(guard, held.id).number > held.number


def test_what_ends_while_it_is_taken_over_stays_over(guard, monkeypatch):
    held = take(guard, str(uuid.uuid4()))
    other = Guard("default")
    read = other._taking._known

    def read_then_ended(ids: list[str]) -> object:
        rows = read(ids)
        guard.end([held])
        return rows

    monkeypatch.setattr(other._taking, "_known", read_then_ended)
    (guarded,) = other.take([Found(held.id, "1")], {})
    assert guarded.standing is Standing.BUSY
    (guarded,) = guard.take([Found(held.id, "1")], {})
    assert guarded.standing is Standing.OVER


# -- one push is one job, another push is another run of it ----------------------------------------


def copy_of(id: str, stored_as: str, push_id: str = "") -> Found:
    return Found(id, stored_as, push_id)


def standing(guard: Guard, copy: Found, ours: dict[str, int] | None = None) -> Standing:
    (guarded,) = guard.take([copy], ours or {})
    return guarded.standing


@pytest.mark.parametrize("lease", [None, 60.0])
def test_a_second_copy_of_a_push_waits_for_the_first_and_is_over_with_it(
    lease,
):
    """Somebody pushed again because an answer was lost. Nothing of the first copy changes."""
    guard = Guard("default", lease)
    id = str(uuid.uuid4())
    held = take(guard, id)
    Run.objects.update(attempts=7, history="six bad ends")
    assert standing(guard, copy_of(id, "2")) is Standing.BUSY
    assert standing(guard, copy_of(id, "2"), {id: held.number}) is Standing.BUSY
    row = Run.objects.get()
    assert (row.attempts, row.history, row.held_as) == (7, "six bad ends", "1")
    assert guard.extend([held]) == set()
    assert guard.end([held]) == set()
    assert standing(guard, copy_of(id, "2")) is Standing.OVER
    assert standing(guard, copy_of(id, "1")) is Standing.OVER


def test_either_copy_may_go_on_where_the_other_was_put_back(guard):
    id = str(uuid.uuid4())
    put_back(guard, take(guard, id), Verdict.RELEASE)
    (guarded,) = guard.take([copy_of(id, "2")], {})
    assert (guarded.standing, guarded.attempts, guarded.history) == (Standing.READY, 2, "stale")
    assert standing(guard, copy_of(id, "1")) is Standing.BUSY


def test_the_copy_of_a_holder_that_is_gone_is_taken_over():
    guard, id = Guard("default", lease=0.2), str(uuid.uuid4())
    take(guard, id)
    time.sleep(0.3)
    assert standing(guard, copy_of(id, "2")) is Standing.ORPHANED


def test_a_copy_that_the_store_has_lost_is_held_by_nobody(guard):
    id = str(uuid.uuid4())
    take(guard, id)
    (guarded,) = guard.take([copy_of(id, "2")], {})
    assert guarded == (Standing.BUSY, 1, 1, 0, "", "1")
    (guarded,) = guard.take([copy_of(id, "2")], {}, gone={"1"})
    assert guarded.standing is Standing.ORPHANED


def test_two_copies_in_one_answer_are_one_job(guard):
    id = str(uuid.uuid4())
    first, second = guard.take([copy_of(id, "1"), copy_of(id, "2")], {})
    assert (first.standing, second.standing) == (Standing.READY, Standing.BUSY)
    assert Run.objects.get().held_as == "1"


def test_a_retry_begins_anew_when_the_earlier_push_has_ended(guard):
    id, later = str(uuid.uuid4()), new_push_id()
    held = take(guard, id)
    Run.objects.update(attempts=3, interruptions=1, history="three bad ends")
    assert standing(guard, copy_of(id, "2", later)) is Standing.BUSY, "it is being settled"
    guard.end([held])
    (guarded,) = guard.take([copy_of(id, "2", later)], {})
    assert guarded == (Standing.READY, held.number + 1, 1, 0, "", "")
    assert standing(guard, copy_of(id, "3", later)) is Standing.BUSY


def test_a_late_copy_of_an_earlier_push_is_over(guard):
    id = str(uuid.uuid4())
    guard.end([take(guard, id)])
    pushes = [new_push_id()]
    time.sleep(0.01)
    pushes.append(new_push_id())
    for at, push in enumerate(pushes):
        (guarded,) = guard.take([copy_of(id, f"r{at}", push)], {})
        assert guarded.standing is Standing.READY
        for older in ("", *pushes[:at]):
            assert standing(guard, copy_of(id, "late", older)) is Standing.OVER
        guard.end([Held(id, guarded.number)])
        for older in ("", *pushes[:at]):
            assert standing(guard, copy_of(id, "late", older)) is Standing.OVER


def test_the_first_push_may_say_its_name(guard):
    id = str(uuid.uuid4())
    take(guard, id)
    assert standing(guard, copy_of(id, "1", id)) is Standing.ORPHANED


# -- cancelled jobs --------------------------------------------------------------------------------


def test_a_job_that_was_cancelled_before_anybody_began_it_is_over(guard):
    id = str(uuid.uuid4())
    assert not guard.cancel(id, unseen=False)
    assert guard.cancel(id, unseen=True)
    assert not guard.cancel(id, unseen=True), "once is enough"
    assert standing(guard, copy_of(id, "1", new_push_id())) is Standing.OVER
    assert standing(guard, copy_of(id, "1")) is Standing.OVER
    assert Run.objects.get().ended


def test_a_job_that_is_cancelled_while_it_waits_for_its_retry_is_over(guard):
    held = take(guard, str(uuid.uuid4()))
    put_back(guard, held, Verdict.RELEASE)
    assert guard.cancel(held.id, unseen=False)
    assert standing(guard, copy_of(held.id, "1")) is Standing.OVER


def test_whoever_runs_a_cancelled_job_has_lost_it(guard):
    held = take(guard, str(uuid.uuid4()))
    assert guard.cancel(held.id, unseen=True)
    assert guard.extend([held]) == {held.id}
    assert guard.ours([held]) == set()
    assert guard.end([held]) == {held.id}
    assert put_back(guard, held, Verdict.RELEASE) == {held.id}
    assert not guard.mark(held, over=False)
    assert not guard.mark(held, over=True)
    assert standing(guard, copy_of(held.id, "1"), {held.id: held.number}) is Standing.OVER
    assert guard.end([held]) == {held.id}


def test_a_job_that_is_over_cannot_be_cancelled(guard):
    held = take(guard, str(uuid.uuid4()))
    guard.end([held])
    assert not guard.cancel(held.id, unseen=True)
    (guarded,) = guard.take([copy_of(held.id, "2", new_push_id())], {})
    assert guarded.standing is Standing.READY


# -- repetitions -----------------------------------------------------------------------------------


def test_a_release_is_new_once(guard):
    held = take(guard, str(uuid.uuid4()))
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    late = Settlement(reservation, Verdict.RELEASE, delay=50_000.0)
    assert guard.put_back_now(late, held.number)
    assert not guard.put_back_now(late, held.number)
    assert guard.put_back([(late, held.number)]) == set(), "stored before"
    assert Run.objects.get().attempts == 1


# -- how long rows are kept ------------------------------------------------------------------------


def release(guard: Guard, held: Held, delay: float) -> None:
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    settlement = Settlement(reservation, Verdict.RELEASE, delay, history="a bad end")
    assert guard.put_back([(settlement, held.number)]) == set()


def days_pass(days: float) -> None:
    for row in Run.objects.all():
        row.updated_at -= timedelta(days=days)
        if row.keep_until is not None:
            row.keep_until -= timedelta(days=days)
        row.save()


def test_a_job_keeps_its_attempts_through_delays_longer_than_its_row_is_old(guard):
    """Otherwise each attempt would be the first, and `tries` never used up."""
    id = str(uuid.uuid4())
    for attempt in (1, 2, 3):
        (guarded,) = guard.take([Found(id, "1")], {})
        assert (guarded.attempts, bool(guarded.history)) == (attempt, attempt > 1)
        release(guard, Held(id, guarded.number), delay=200 * 86400.0)
        days_pass(201)
        prune()


def test_the_row_of_a_job_in_a_paused_queue_stays_where_the_store_keeps_the_job():
    guard = Guard("default", keep=timedelta(days=92))
    held = take(guard, str(uuid.uuid4()))
    release(guard, held, delay=0.0)
    days_pass(40)
    prune()
    assert Run.objects.get().attempts == 1


def test_the_row_of_a_cancelled_job_stays_until_any_delay_is_over(guard):
    guard.cancel(str(uuid.uuid4()), unseen=True)
    days_pass(300)
    prune()
    assert Run.objects.exists()
    days_pass(100)
    prune()
    assert not Run.objects.exists()
