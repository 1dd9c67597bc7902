"""The guard rows: what refuses the end of a reservation that somebody else has taken over."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.drivers.guard import Claim, Delivery, Guard, GuardState
from djqueue.drivers.guard.taking import Taking
from djqueue.models import Run
from djqueue.operations.pruning import prune
from djqueue.payload.ids import new_push_id

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "queue"])


@pytest.fixture
def guard():
    return Guard("default")


def take(guard: Guard, id: str) -> Claim:
    """Hand the job out, to a worker that knows nothing of it."""
    (row,) = guard.take([Delivery(id, "1")], {})
    assert row.state in (GuardState.READY, GuardState.ORPHANED)
    return Claim(id, row.number)


def put_back(guard: Guard, held: Claim, verdict: Verdict) -> set[str]:
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    return guard.put_back([(Settlement(reservation, verdict, history="stale"), held.number)])


def test_whoever_was_taken_over_changes_nothing(guard):
    id = str(uuid.uuid4())
    stale, fresh = take(guard, id), take(guard, id)
    assert guard.end([stale]) == {id}
    for verdict in (Verdict.RELEASE, Verdict.RETURN, Verdict.INTERRUPTED):
        assert put_back(guard, stale, verdict) == {id}
    assert guard.extend([stale]) == {id}
    assert not guard.confirm_end(stale, over=False)
    assert not guard.confirm_end(stale, over=True)
    guard.delete([stale])
    assert guard.extend([fresh]) == set()
    assert guard.end([fresh]) == set()


def test_what_is_over_stays_over(guard):
    held = take(guard, str(uuid.uuid4()))
    assert guard.end([held]) == set()
    assert guard.end([held]) == set(), "an answer that got lost is no loss"
    assert put_back(guard, held, Verdict.RELEASE) == {held.id}
    assert guard.extend([held]) == set(), "nobody else has it"
    assert not guard.confirm_end(held, over=False)
    assert not guard.confirm_end(held, over=True), "what follows from an end is written once"


def test_what_was_put_back_is_held_by_nobody(guard):
    held = take(guard, str(uuid.uuid4()))
    assert put_back(guard, held, Verdict.RETURN) == set()
    assert guard.end([held]) == {held.id}
    assert guard.extend([held]) == {held.id}
    assert not guard.confirm_end(held, over=True)
    assert take(guard, held.id).number > held.number


def test_what_ends_while_it_is_taken_over_stays_over(guard, monkeypatch):
    held = take(guard, str(uuid.uuid4()))
    other = Guard("default")
    read = Taking._known

    def read_then_ended(taking: Taking, ids: list[str]) -> object:
        rows = read(taking, ids)
        guard.end([held])
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Taking, "_known", read_then_ended)
        (row,) = other.take([Delivery(held.id, "1")], {})
    assert row.state is GuardState.BUSY
    (row,) = guard.take([Delivery(held.id, "1")], {})
    assert row.state is GuardState.ENDED


# -- one push is one job, another push is another run of it ----------------------------------------


def copy_of(id: str, stored_as: str, push_id: str = "") -> Delivery:
    return Delivery(id, stored_as, push_id)


def state(guard: Guard, copy: Delivery, ours: dict[str, int] | None = None) -> GuardState:
    (row,) = guard.take([copy], ours or {})
    return row.state


@pytest.mark.parametrize("lease", [None, 60.0])
def test_a_second_copy_of_a_push_waits_for_the_first_and_is_over_with_it(
    lease,
):
    """Somebody pushed again because an answer was lost. Nothing of the first copy changes."""
    guard = Guard("default", lease)
    id = str(uuid.uuid4())
    held = take(guard, id)
    Run.objects.update(attempts=7, history="six bad ends")
    assert state(guard, copy_of(id, "2")) is GuardState.BUSY
    assert state(guard, copy_of(id, "2"), {id: held.number}) is GuardState.BUSY
    row = Run.objects.get()
    assert (row.attempts, row.history, row.held_as) == (7, "six bad ends", "1")
    assert guard.extend([held]) == set()
    assert guard.end([held]) == set()
    assert state(guard, copy_of(id, "2")) is GuardState.ENDED
    assert state(guard, copy_of(id, "1")) is GuardState.ENDED


def test_either_copy_may_go_on_where_the_other_was_put_back(guard):
    id = str(uuid.uuid4())
    put_back(guard, take(guard, id), Verdict.RELEASE)
    (row,) = guard.take([copy_of(id, "2")], {})
    assert (row.state, row.attempts, row.history) == (GuardState.READY, 2, "stale")
    assert state(guard, copy_of(id, "1")) is GuardState.BUSY


def test_the_copy_of_a_holder_that_is_gone_is_taken_over():
    guard, id = Guard("default", lease=0.2), str(uuid.uuid4())
    take(guard, id)
    time.sleep(0.3)
    assert state(guard, copy_of(id, "2")) is GuardState.ORPHANED


def test_a_copy_that_the_store_has_lost_is_held_by_nobody(guard):
    id = str(uuid.uuid4())
    take(guard, id)
    (row,) = guard.take([copy_of(id, "2")], {})
    assert row == (GuardState.BUSY, 1, 1, 0, "", "1")
    (row,) = guard.take([copy_of(id, "2")], {}, gone={"1"})
    assert row.state is GuardState.ORPHANED


def test_two_copies_in_one_answer_are_one_job(guard):
    id = str(uuid.uuid4())
    first, second = guard.take([copy_of(id, "1"), copy_of(id, "2")], {})
    assert (first.state, second.state) == (GuardState.READY, GuardState.BUSY)
    assert Run.objects.get().held_as == "1"


def test_a_retry_begins_anew_when_the_earlier_push_has_ended(guard):
    id, later = str(uuid.uuid4()), new_push_id()
    held = take(guard, id)
    Run.objects.update(attempts=3, interruptions=1, history="three bad ends")
    assert state(guard, copy_of(id, "2", later)) is GuardState.BUSY, "it is being settled"
    guard.end([held])
    (row,) = guard.take([copy_of(id, "2", later)], {})
    assert row == (GuardState.READY, held.number + 1, 1, 0, "", "")
    assert state(guard, copy_of(id, "3", later)) is GuardState.BUSY


def test_a_late_copy_of_an_earlier_push_is_over(guard):
    id = str(uuid.uuid4())
    guard.end([take(guard, id)])
    pushes = [new_push_id()]
    time.sleep(0.01)
    pushes.append(new_push_id())
    for at, push in enumerate(pushes):
        (row,) = guard.take([copy_of(id, f"r{at}", push)], {})
        assert row.state is GuardState.READY
        for older in ("", *pushes[:at]):
            assert state(guard, copy_of(id, "late", older)) is GuardState.ENDED
        guard.end([Claim(id, row.number)])
        for older in ("", *pushes[:at]):
            assert state(guard, copy_of(id, "late", older)) is GuardState.ENDED


def test_the_first_push_may_say_its_name(guard):
    id = str(uuid.uuid4())
    take(guard, id)
    assert state(guard, copy_of(id, "1", id)) is GuardState.ORPHANED


# -- cancelled jobs --------------------------------------------------------------------------------


def test_a_job_that_was_cancelled_before_anybody_began_it_is_over(guard):
    id = str(uuid.uuid4())
    assert not guard.cancel(id, unseen=False)
    assert guard.cancel(id, unseen=True)
    assert not guard.cancel(id, unseen=True), "once is enough"
    assert state(guard, copy_of(id, "1", new_push_id())) is GuardState.ENDED
    assert state(guard, copy_of(id, "1")) is GuardState.ENDED
    assert Run.objects.get().ended


def test_a_job_that_is_cancelled_while_it_waits_for_its_retry_is_over(guard):
    held = take(guard, str(uuid.uuid4()))
    put_back(guard, held, Verdict.RELEASE)
    assert guard.cancel(held.id, unseen=False)
    assert state(guard, copy_of(held.id, "1")) is GuardState.ENDED


def test_whoever_runs_a_cancelled_job_has_lost_it(guard):
    held = take(guard, str(uuid.uuid4()))
    assert guard.cancel(held.id, unseen=True)
    assert guard.extend([held]) == {held.id}
    assert guard.still_held([held]) == set()
    assert guard.end([held]) == {held.id}
    assert put_back(guard, held, Verdict.RELEASE) == {held.id}
    assert not guard.confirm_end(held, over=False)
    assert not guard.confirm_end(held, over=True)
    assert state(guard, copy_of(held.id, "1"), {held.id: held.number}) is GuardState.ENDED
    assert guard.end([held]) == {held.id}


def test_a_job_that_is_over_cannot_be_cancelled(guard):
    held = take(guard, str(uuid.uuid4()))
    guard.end([held])
    assert not guard.cancel(held.id, unseen=True)
    (row,) = guard.take([copy_of(held.id, "2", new_push_id())], {})
    assert row.state is GuardState.READY


# -- repetitions -----------------------------------------------------------------------------------


def test_a_release_is_new_once(guard):
    held = take(guard, str(uuid.uuid4()))
    reservation = Reservation(held.id, "default", "a.B", "{}", 1, 0, "", None)
    late = Settlement(reservation, Verdict.RELEASE, delay=50_000.0)
    assert guard.put_back_once(late, held.number)
    assert not guard.put_back_once(late, held.number)
    assert guard.put_back([(late, held.number)]) == set(), "stored before"
    assert Run.objects.get().attempts == 1


# -- how long rows are kept ------------------------------------------------------------------------


def release(guard: Guard, held: Claim, delay: float) -> None:
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
        (row,) = guard.take([Delivery(id, "1")], {})
        assert (row.attempts, bool(row.history)) == (attempt, attempt > 1)
        release(guard, Claim(id, row.number), delay=200 * 86400.0)
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
