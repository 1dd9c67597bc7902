"""One attempt: a reservation goes in, an outcome comes out.

Read from the top: `Runner.run` gives the attempt its time, `_load` makes the job of its payload,
`_call` runs it, `_raised` and `_ended` say what follows. Nothing here stores anything, but for
`atomic` jobs, whose end is part of their own transaction.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import Any

from djqueue import signals
from djqueue.drivers.base import Reservation
from djqueue.errors import (
    InvalidPayload,
    JobTimeout,
    LeaseLost,
    ModelMissing,
    PayloadError,
    QueueUnavailable,
    TimeoutExceeded,
    UnknownJob,
)
from djqueue.jobs import registry
from djqueue.payload import history
from djqueue.payload.payload import Limits, Payload, decode, head_of
from djqueue.payload.store import unpacked
from djqueue.runner import log, unknown
from djqueue.runner.atomic import AlreadyDone, Frame, SessionOfThread, frame_for
from djqueue.runner.cleanup.twin import Twin
from djqueue.runner.coroutines import finish
from djqueue.runner.current import CurrentJob, current, never
from djqueue.runner.decision import Action, Decision, Ending, decide
from djqueue.runner.outcome import ErrorReport, Outcome, report, without_frames
from djqueue.runner.refused import NothingLeft, refuse_if_nothing_is_left
from djqueue.runner.rules import Rules
from djqueue.runner.telling import Teller
from djqueue.runner.timer import Timer


class _Attempt:
    """What is known of the attempt that runs."""

    __slots__ = (
        "began",
        "frame",
        "job",
        "limits",
        "payload",
        "reservation",
        "sender",
        "spec",
        "timeout",
        "unpacked",
    )

    def __init__(
        self, reservation: Reservation, job: CurrentJob, limits: Limits, timeout: float
    ) -> None:
        self.reservation = reservation
        self.job = job
        self.limits = limits
        self.began = time.perf_counter()
        self.timeout = timeout
        self.spec: Any = None
        self.sender: Any = None
        """The job's class, of its signals."""
        self.payload: Payload | None = None
        self.unpacked = False
        self.frame: Frame | None = None
        """None until ``handle()`` is about to be called."""


class Runner:
    """Runs the jobs of one connection in this thread, one after another."""

    def __init__(
        self,
        connection: str,
        rules: Rules,
        *,
        timer: Timer | None = None,
        cancelled: Callable[[], bool] | None = None,
        stopping: Callable[[], bool] | None = None,
        session: SessionOfThread | None = None,
    ) -> None:
        self.connection = connection
        self.rules = rules
        self._timer = timer or Timer()
        self._cancelled = cancelled or never
        self._stopping = stopping or never
        self._session = session
        self.error: BaseException | None = None
        """What the last attempt raised, or gave to ``fail()``."""
        self.value: Any = None
        """What the last attempt's ``handle()`` returned."""
        self.logs = True
        """Whether failures are logged: not where the caller gets the error itself."""
        self.twin = Twin()
        self.teller = Teller(connection, rules, self._timer, self.twin)

    def run(self, reservation: Reservation, limits: Limits | None = None) -> Outcome:
        """Run one attempt. Whatever the job raises is its outcome, `SystemExit` and its like
        included. `KeyboardInterrupt` passes where the process is not the jobs' own: it is Ctrl-C.
        `limits` are those in the payload, where they have been read already.
        """
        self.error = self.value = None
        if limits is None:
            head = head_of(reservation.payload)
            limits = head.limits if head else Limits()
        job = CurrentJob(
            reservation.id,
            reservation.name,
            reservation.queue,
            self.connection,
            reservation.attempt,
            None,
            self._cancelled,
            self._stopping,
        )
        attempt = _Attempt(reservation, job, limits, self.rules.timeout_of(limits))
        return contextvars.copy_context().run(self._attempt, attempt)

    def forget(self) -> None:
        """Let go of what the last attempt raised and returned, and of what their frames hold."""
        if self.error is not None:
            without_frames(self.error)
        self.error = self.value = None

    def _attempt(self, attempt: _Attempt) -> Outcome:
        current.set(attempt.job)
        timer = self._timer
        try:
            try:
                timer.start(attempt.timeout)
                self._load(attempt)
                signals.announce(signals.job_started, attempt.sender, job=attempt.job)
                self.value = self._call(attempt)
            finally:
                timer.stop()
                if self.twin.born:
                    self.twin.end_here()
        except BaseException as error:
            timer.stop()  # it may have rung on the way to the other stop, and would again
            if isinstance(error, KeyboardInterrupt) and not timer.owns_process:
                raise
            outcome = self._raised(attempt, error)
        else:
            ending = attempt.job.requested or Ending.RETURNED
            outcome = self._ended(attempt, ending, attempt.job.error)
        if timer.rang or outcome.ending is Ending.TIMED_OUT:
            return outcome._replace(spoilt=True)
        return outcome

    # -- running -------------------------------------------------------------------------------

    def _load(self, attempt: _Attempt) -> None:
        """Make the job of its payload."""
        reservation = attempt.reservation
        payload = decode(reservation.payload)
        if payload.id != reservation.id:
            raise InvalidPayload(f"The payload belongs to job {payload.id}.")
        attempt.payload = payload
        name = attempt.job.name = payload.head.name
        spec: Any = registry.find(name)
        attempt.spec, attempt.sender = spec, spec.job_class
        if name != reservation.name:
            raise InvalidPayload(
                f"The store calls this job {reservation.name!r:.300}, and its payload"
                f" {name!r:.300}: one of the two was altered."
            )
        if payload.packed is not None:
            payload = attempt.payload = unpacked(payload)
        attempt.unpacked = True
        if reservation.attempt > 1 or payload.retry_until is not None:
            refuse_if_nothing_is_left(payload, reservation, self.rules)
        attempt.job.instance = spec.load(payload.arguments)

    def _call(self, attempt: _Attempt) -> Any:
        """Run ``handle()``, inside the job's transaction where it asks for one. The timer stops
        before that is committed: a commit must not be interrupted half-way.
        """
        timer, job = self._timer, attempt.job
        frame = attempt.frame = frame_for(attempt.limits.atomic, self.connection, self._session)
        with frame.around(job, attempt.reservation):
            try:
                value = attempt.spec.call(job.instance)
                if value is not None:
                    value = finish(value, timer)
            finally:
                timer.stop()
                if self.twin.born:  # before the transaction, which is not its own, ends
                    self.twin.end_here()
            if timer.rang:  # swallowed, but its time was over
                raise JobTimeout
            return value

    # -- ending --------------------------------------------------------------------------------

    def _raised(self, attempt: _Attempt, error: BaseException) -> Outcome:
        """What follows from an exception, wherever it came from."""
        reservation, frame = attempt.reservation, attempt.frame
        if frame is not None and frame.committed:
            log.raised_after_commit(attempt.job, error)
            ending = attempt.job.requested or Ending.RETURNED
            return self._ended(attempt, ending, attempt.job.error)
        if isinstance(error, JobTimeout) or self._timer.rang:
            late = self._timed_out(attempt, error)
            signals.announce(
                signals.job_timed_out,
                attempt.sender,
                job=attempt.job,
                error=late,
                duration=attempt.timeout,
            )
            return self._ended(attempt, Ending.TIMED_OUT, late)
        if frame is not None:
            if isinstance(error, LeaseLost):
                self.error = error
                if isinstance(error, AlreadyDone):
                    return Outcome(Ending.DELETED, _DELETED)
                return Outcome(Ending.LOST, _DELETED, report(error), settled=True)
            return self._ended(attempt, Ending.RAISED, error)
        if not attempt.unpacked and isinstance(error, (UnknownJob, QueueUnavailable)):
            self.error = error
            return unknown.hold_back(reservation, error, self.rules.unknown_grace)
        if isinstance(error, NothingLeft):
            self.error = error.reason
            return error.outcome
        if isinstance(error, ModelMissing) and attempt.limits.delete_when_missing:
            return Outcome(Ending.DELETED, _DELETED)
        if isinstance(error, PayloadError):
            self.error = error
            described = report(error)
            text = _remember(reservation, Ending.FAILED, described)
            return Outcome(Ending.FAILED, _FAILED, described, text)
        # Decoding runs the project's code: fields, managers, enums.
        return self._ended(attempt, Ending.RAISED, error)

    def _timed_out(self, attempt: _Attempt, rang: BaseException) -> TimeoutExceeded:
        job, limits = attempt.job, attempt.limits
        tries = self.rules.tries_of(limits)
        error = TimeoutExceeded(
            f"{job.name} ran longer than its timeout of {attempt.timeout:g} s"
            f"{'' if limits.timeout is not None else ' (the default)'} and was stopped (attempt"
            f" {job.attempt}{f' of {tries}' if tries else ''}). Raise `timeout` on the job, or"
            " split it."
        )
        if not isinstance(rang, JobTimeout):  # the job made another error of it
            error.__cause__ = rang
        return error.with_traceback(rang.__traceback__)

    def _ended(self, attempt: _Attempt, ending: Ending, error: BaseException | None) -> Outcome:
        """What follows from how the attempt ended, announced but not stored."""
        job, reservation, sender = attempt.job, attempt.reservation, attempt.sender
        duration = time.perf_counter() - attempt.began
        settled = attempt.frame is not None and attempt.frame.settled
        if job.requested is not None and ending is Ending.RAISED:
            ending, error = job.requested, job.error or error
        self.error = error
        if ending is Ending.RETURNED:
            # What was cancelled or lost is not done; nobody is told of an outcome that is ignored.
            if signals.job_succeeded.receivers and (settled or not job.is_cancelled):
                signals.announce(signals.job_succeeded, sender, job=job, duration=duration)
            return Outcome(ending, _DONE, settled=settled, duration=duration)
        text: str | None = None
        described = None
        if error is not None:
            described = report(error)
            text = _remember(reservation, ending, described)
            if ending is Ending.RAISED:
                signals.announce(
                    signals.job_errored, sender, job=job, error=error, duration=duration
                )
        facts = self.rules.facts(
            attempt.limits,
            attempt=reservation.attempt,
            errors=history.read(text or reservation.history).errors,
            interruptions=reservation.interruptions,
            backoff=_own_backoff(attempt.spec, job) if error is not None else None,
            retry_until=None if attempt.payload is None else attempt.payload.retry_until,
            now=time.time(),
        )
        decision = decide(ending, facts, job.delay)
        if decision.action is Action.RETRY and not job.is_cancelled:
            if error is not None and self.logs:
                log.will_be_retried(job, error, decision.delay)
            signals.announce(
                signals.job_released, sender, job=job, delay=decision.delay, error=error
            )
        charged = not (ending is Ending.RELEASED and job.is_uncharged)
        return Outcome(ending, decision, described, text, settled, charged, duration)

    # -- telling -------------------------------------------------------------------------------

    def failed(
        self, reservation: Reservation, error: BaseException, *, killed: bool = False
    ) -> bool:
        """Tell the job, and then everybody, that it was given up, as `Teller.failed`."""
        if self.logs:
            log.given_up(CurrentJob.of(reservation, self.connection), error)
        return self.teller.failed(reservation, error, killed=killed)


_DONE = _DELETED = Decision(Action.DONE)
_FAILED = Decision(Action.FAIL)


def _remember(reservation: Reservation, ending: Ending, described: ErrorReport) -> str:
    return history.add(
        reservation.history,
        reservation.attempt,
        ending.value,
        described.class_name,
        described.message,
        error=ending in (Ending.RAISED, Ending.TIMED_OUT, Ending.FAILED),
    )


def _own_backoff(spec: Any, job: CurrentJob) -> tuple[float, ...] | None:
    """The instance's ``backoff()``, if it has one and it works; else the stored one."""
    if job.instance is None:
        return None
    try:
        backoff: tuple[float, ...] | None = spec.backoff(job.instance)
    except Exception:  # noqa: BLE001 - the project's code; a retry must not depend on it
        signals.logger.exception("%s.backoff() raised; the stored backoff is used.", job.name)
        return None
    return backoff
