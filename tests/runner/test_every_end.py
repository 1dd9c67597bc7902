"""Whatever a job raises is its outcome, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
import weakref
from typing import Any

import pytest
from django.db import connection, transaction

from djqueue import Job, current_job, dispatch_sync, job, signals
from djqueue.models import FailedJob, QueuedJob
from djqueue.runner.decision import Action, Ending
from djqueue.runner.outcome import ErrorReport, exception_of, report
from djqueue.runner.rules import Rules
from djqueue.runner.runner import Runner
from djqueue.runner.timer import AlarmTimer
from djqueue.testing import work
from tests.app.models import Note
from tests.runner.test_runner import reservation, run_held

pytestmark = pytest.mark.usefixtures("own_jobs")


class OwnBaseException(BaseException):
    pass


class ExitsWhenShown(Exception):
    def __str__(self) -> str:
        return str(sys.exit("in __str__"))


LEAVES: dict[str, Any] = {
    "exit": lambda: sys.exit(3),
    "exit text": lambda: sys.exit("bye"),
    "generator": lambda: raised(GeneratorExit()),
    "own": lambda: raised(OwnBaseException("mine")),
    "shown": lambda: raised(ExitsWhenShown()),
    "keyboard": lambda: raised(KeyboardInterrupt("k")),
}


def raised(error: BaseException) -> None:
    raise error


@job(name="tests.leaves", tries=1)
def leaves(how: str) -> None:
    LEAVES[how]()


@job(name="tests.leaves_by_cancelling", tries=1)
async def cancels() -> None:
    task = asyncio.ensure_future(asyncio.sleep(5))
    await asyncio.sleep(0)
    task.cancel()
    await task


def attempt(bound: Any, timer: AlarmTimer | None = None, number: int = 1) -> Any:
    return run_held(reservation(bound, number), timer=timer).outcome


@pytest.mark.parametrize(
    ("how", "name", "text"),
    [
        ("exit", "SystemExit", "3"),
        ("exit text", "SystemExit", "bye"),
        ("generator", "GeneratorExit", ""),
        ("own", "tests.runner.test_every_end.OwnBaseException", "mine"),
        ("shown", "tests.runner.test_every_end.ExitsWhenShown", "could not be made: SystemExit"),
        ("keyboard", "KeyboardInterrupt", "k"),
    ],
)
def test_every_exception_is_the_outcome_of_its_job(alarm, how, name, text):
    outcome = attempt(leaves.bind(how), alarm)
    assert (outcome.ending, outcome.decision.action) == (Ending.RAISED, Action.FAIL)
    assert outcome.error.class_name == name
    assert text in outcome.error.message
    assert "test_every_end.py" in outcome.error.traceback
    assert not outcome.spoilt


def test_a_cancelled_coroutine_says_so(alarm):
    outcome = attempt(cancels.bind(), alarm)
    assert outcome.ending is Ending.RAISED
    assert outcome.error.class_name == "asyncio.exceptions.CancelledError"


def test_ctrl_c_passes_where_the_process_is_somebody_elses():
    with pytest.raises(KeyboardInterrupt):
        attempt(leaves.bind("keyboard"))


def test_a_job_that_makes_another_error_of_its_timeout_has_timed_out(alarm):
    @job(name="tests.leaves_translating", timeout=0.1, tries=1)
    def translates() -> None:
        try:
            time.sleep(5)
        except BaseException:  # noqa: BLE001 - as jobs do
            raise ValueError("mine") from None

    outcome = attempt(translates.bind(), alarm)
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.spoilt, "what it was in the middle of is unknown"
    assert "ValueError: mine" in outcome.error.traceback


class SlowToMake(Job, name="tests.leaves_slow_to_make", timeout=0.1, tries=1):
    seconds: float

    def __post_init__(self) -> None:
        if current_job(None) is not None:
            time.sleep(self.seconds)

    def handle(self) -> None:
        raise AssertionError("never reached")


def test_the_timeout_covers_the_making_of_the_job(alarm):
    outcome = attempt(SlowToMake(5.0), alarm)
    assert outcome.ending is Ending.TIMED_OUT


class HangsWhenFailed(Job, name="tests.leaves_hanging", timeout=0.1, tries=1):
    def handle(self) -> None:
        raise ValueError

    def failed(self, error: BaseException) -> None:
        time.sleep(5)


def test_failed_has_the_time_of_its_job(alarm, caplog):
    runner = Runner("database", Rules(), timer=alarm)
    began = time.monotonic()
    spoilt = runner.teller.failed(reservation(HangsWhenFailed()), ValueError("x"))
    assert time.monotonic() - began < 2
    assert spoilt
    assert "tests.leaves_hanging.failed() ran longer than 0.1 s" in caplog.text


@pytest.mark.parametrize("how", ["exit", "own", "generator"])
def test_whatever_failed_raises_is_logged(alarm, caplog, how):
    class Fails(Job, name=f"tests.leaves_failing_{how}"):
        def handle(self) -> None: ...

        def failed(self, error: BaseException) -> None:
            LEAVES[how]()

    runner = Runner("database", Rules(), timer=alarm)
    assert not runner.teller.failed(reservation(Fails()), ValueError("x"))
    assert f"tests.leaves_failing_{how}.failed() raised" in caplog.text


def test_a_job_that_its_store_calls_otherwise_is_not_run(alarm):
    held = reservation(fails.bind())._replace(name="tests.harmless")
    outcome = run_held(held, timer=alarm).outcome
    assert outcome.error is not None
    assert outcome.error.class_name == "djqueue.errors.InvalidPayload"
    assert "'tests.harmless'" in outcome.error.message


# -- what stays behind --------------------------------------------------------------------------


class Large:
    """Something that can be seen to go."""


def test_nothing_of_a_failed_attempt_stays(alarm):
    seen: list[weakref.ref[Large]] = []

    @job(name="tests.leaves_nothing", tries=5)
    def holds() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        try:
            raise KeyError("inner")
        except KeyError as inner:
            error = ValueError("outer")
            error.own = error
            raise error from inner

    gc.disable()
    logging.disable()  # the test run keeps each record, with its traceback
    try:
        ran = run_held(reservation(holds.bind()), timer=alarm)
        ran.forget()
        assert seen[0]() is None
        assert ran.error is None
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


class WithArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code

    def __str__(self) -> str:
        return f"error {self.code}"

    class Inner(Exception):
        pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("v"),
        KeyError("k"),
        SystemExit(3),
        OSError(2, "No such file"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        WithArguments(7, "r"),
        WithArguments.Inner("i"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_be_made_again_from_what_is_kept_of_it(error):
    again = exception_of(report(error))
    assert isinstance(again, type(error))
    assert str(again) == str(error)
    assert report(again).class_name == report(error).class_name
    assert again.__traceback__ is None


def test_an_error_whose_class_is_nowhere_is_made_of_its_text():
    again = exception_of(ErrorReport("no.such.Thing", "text", "Traceback …"))
    assert str(again) == "no.such.Thing: text"
    assert "Traceback …" in str(again.__cause__)


# -- attempts that were not begun ---------------------------------------------------------------


@job(name="tests.leaves_late", tries=3)
def fails() -> None:
    raise LookupError("the real one")


def test_a_job_that_may_not_begin_again_has_its_last_real_error(alarm):
    first = attempt(fails.bind(), alarm)
    held = reservation(fails.bind(), attempt=4, history=first.history)
    outcome = run_held(held, timer=alarm).outcome
    assert outcome.decision.action is Action.FAIL
    assert (outcome.error.class_name, outcome.error.message) == ("LookupError", "the real one")
    assert "it had used up its 3 tries" in outcome.error.traceback
    assert not outcome.charged
    assert outcome.history is None, "an attempt that was none has no entry"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_came_too_late_has_no_attempt():
    @job(name="tests.leaves_too_late", retry_until=0.05)
    def never() -> None:
        raise AssertionError

    never.dispatch()
    time.sleep(0.1)
    work()
    row = FailedJob.objects.get()
    assert row.attempts == 0
    assert row.exception_class == "djqueue.errors.MaxAttemptsExceeded"
    assert "its retry_until had passed before its first attempt" in row.exception_message
    assert "tries" not in row.exception_message
    assert json.loads(row.history or "{}").get("attempts", []) == []


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_would_come_too_late_is_not_waited_for():
    @job(name="tests.leaves_in_time", retry_until=30, backoff=60)
    def tries_once() -> None:
        raise LookupError("the real one")

    tries_once.dispatch()
    work()
    row = FailedJob.objects.get()
    assert (row.attempts, row.exception_class) == (1, "LookupError")
    assert "tries_once" in row.exception


@pytest.mark.django_db(transaction=True)
def test_a_job_released_in_its_last_try_fails_with_its_last_real_error():
    @job(name="tests.leaves_released", tries=2)
    def releases() -> None:
        if current_job().attempt == 1:
            raise LookupError("the real one")
        current_job().release()

    releases.dispatch()
    work()
    row = FailedJob.objects.get()
    assert (row.attempts, row.exception_class) == (2, "LookupError")
    assert row.exception_message == "the real one"


# -- atomic jobs --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_atomic_job_whose_on_commit_raises_is_done(caplog):
    @job(name="tests.leaves_after_commit", atomic=True, tries=1)
    def commits() -> None:
        Note.objects.create(text="here")
        transaction.on_commit(lambda: raised(ZeroDivisionError()))

    commits.dispatch()
    with caplog.at_level(logging.WARNING):
        work()
    assert Note.objects.count() == 1
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()
    (record,) = [each for each in caplog.records if each.name == "djqueue.jobs"]
    assert record.levelno == logging.WARNING
    assert "is done and committed" in record.getMessage()


@pytest.mark.django_db(transaction=True)
def test_an_atomic_job_that_was_taken_over_says_so(caplog):
    @job(name="tests.leaves_taken_over", atomic=True, tries=1)
    def loses() -> None:
        Note.objects.create(text="here")
        with contextlib.suppress(Exception):
            QueuedJob.objects.filter(name="tests.leaves_taken_over").update(reservation=999)

    loses.dispatch()
    work()
    assert Note.objects.count() == 0
    assert "tests.leaves_taken_over" in caplog.text
    assert "Lost" in caplog.text


@pytest.fixture
def announced():
    """What was announced, and what the database held by then."""
    heard = []

    def hear(name):
        def receive(sender, job, **given):
            stored = (QueuedJob.objects.count(), FailedJob.objects.count())
            heard.append((name, job.name, stored))

        return receive

    names = ("job_succeeded", "job_released", "job_failed")
    receivers = {name: hear(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    yield heard
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


@pytest.mark.django_db(transaction=True)
def test_what_becomes_of_a_job_is_announced_when_it_is_stored(announced):
    @job(name="tests.leaves_well")
    def well() -> None: ...

    @job(name="tests.leaves_well_atomically", atomic=True)
    def atomically() -> None: ...

    well.dispatch()
    work()
    atomically.dispatch()
    work()
    leaves.dispatch("own")
    work()
    fails.using(backoff=60).dispatch()
    work()
    assert announced == [
        ("job_succeeded", "tests.leaves_well", (0, 0)),
        ("job_succeeded", "tests.leaves_well_atomically", (0, 0)),
        ("job_failed", "tests.leaves", (0, 1)),
        ("job_released", "tests.leaves_late", (1, 1)),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True])
def test_a_run_whose_lease_was_lost_announces_nothing(announced, atomic):
    @job(name=f"tests.leaves_lost_{atomic}", atomic=atomic, tries=1)
    def loses() -> None:
        QueuedJob.objects.update(reservation=999)

    loses.dispatch()
    work()
    assert not announced


def test_an_error_that_reaches_its_caller_is_not_logged_too(caplog):
    with caplog.at_level(logging.DEBUG, logger="djqueue.jobs"):
        for bound in (fails.bind(), leaves.bind("own")):
            with pytest.raises((LookupError, OwnBaseException)):
                dispatch_sync(bound)
    assert not [each for each in caplog.records if each.name == "djqueue.jobs"]


# -- logging ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_each_failure_is_one_record_of_the_log(caplog):
    @job(name="tests.leaves_a_record", tries=2)
    def boom() -> None:
        raise LookupError("gone, password=hunter2") from OSError("token=hunter2")

    id = boom.dispatch().id
    with caplog.at_level(logging.DEBUG, logger="djqueue.jobs"):
        work()
    retried, given_up = [each for each in caplog.records if each.name == "djqueue.jobs"]
    assert (retried.levelno, given_up.levelno) == (logging.WARNING, logging.ERROR)
    for number, record in enumerate((retried, given_up), 1):
        known: Any = record
        assert (known.job_id, known.job_name) == (id, "tests.leaves_a_record")
        assert (known.queue, known.connection, known.attempt) == ("default", "database", number)
        assert record.exc_info is not None
        assert record.exc_info[0] is LookupError
        text = logging.Formatter().format(record)
        assert "in boom" in text, "its traceback"
        assert "hunter2" not in text, "and no secrets"
    assert connection.alias == "default"
