"""One attempt: a reservation goes in, an outcome comes out.

Read from the top: `Runner.run` loads the job, `_attempt` runs it, `_ended` says what follows.
Nothing here stores anything, but for `atomic` jobs, whose end is part of their own transaction.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import async_to_sync

from djqueue import history, registry, signals
from djqueue.decision import Action, Decision, Happened, decide, exhausted
from djqueue.drivers.base import Reservation
from djqueue.errors import (
    InvalidPayload,
    JobTimeout,
    LeaseLost,
    MaxAttemptsExceeded,
    ModelMissing,
    PayloadError,
    QueueUnavailable,
    TimeoutExceeded,
    UnknownJob,
)
from djqueue.payload import Payload, decode
from djqueue.payload_store import unpacked
from djqueue.running import unknown
from djqueue.running.atomic import AlreadyDone, DriverOfThread, Frame, frame_for
from djqueue.running.current import CurrentJob, current
from djqueue.running.outcome import Outcome, report
from djqueue.running.rules import Rules
from djqueue.running.timer import Timer


class Runner:
    """Runs the jobs of one connection in this thread, one after another."""

    def __init__(
        self,
        connection: str,
        rules: Rules,
        *,
        timer: Timer | None = None,
        cancelled: Callable[[], bool] | None = None,
        driver: DriverOfThread | None = None,
    ) -> None:
        self.connection = connection
        self.rules = rules
        self._timer = timer or Timer()
        self._cancelled = cancelled or (lambda: False)
        self._driver = driver
        self.error: BaseException | None = None
        """What the last attempt raised, or gave to ``fail()``."""
        self.value: Any = None
        """What the last attempt's ``handle()`` returned."""

    def run(self, reservation: Reservation) -> Outcome:
        """Run one attempt. Raises nothing that a job may raise, but for `SystemExit` and
        `KeyboardInterrupt`, which end the process as they would anywhere.
        """
        self.error = self.value = None
        job = CurrentJob(
            reservation.id,
            reservation.name,
            reservation.queue,
            self.connection,
            reservation.attempt,
            cancelled=self._cancelled,
        )
        began = time.perf_counter()
        try:
            payload = decode(reservation.payload)
            if payload.id != reservation.id:
                raise InvalidPayload(f"The payload belongs to job {payload.id}.")
            spec = registry.find(payload.head.name)
            job.name = payload.head.name
            payload = unpacked(payload)
        except (UnknownJob, QueueUnavailable) as error:
            self.error = error
            return unknown.hold_back(reservation, error, self.rules.unknown_grace)
        except PayloadError as error:
            return self._cannot_run(job, error, reservation)
        return contextvars.copy_context().run(self._attempt, spec, payload, reservation, job, began)

    def _attempt(
        self, spec: Any, payload: Payload, reservation: Reservation, job: CurrentJob, began: float
    ) -> Outcome:
        current.set(job)
        sender = spec.job_class
        try:
            self._refuse_exhausted(payload, reservation)
            job.instance = spec.load(payload.arguments)
        except ModelMissing as error:
            if payload.head.limits.delete_when_missing:
                return Outcome(Happened.DELETED, _DELETED)
            return self._cannot_run(job, error, reservation)
        except (PayloadError, MaxAttemptsExceeded) as error:
            return self._cannot_run(job, error, reservation)
        except Exception as error:  # noqa: BLE001 - decoding runs the project's code: fields, managers, enums
            return self._ended(Happened.RAISED, spec, payload, reservation, job, error, began)
        signals.announce(signals.job_started, sender, job=job)
        timeout = self.rules.timeout_of(payload.head.limits)
        frame = frame_for(payload.head.limits.atomic, self.connection, self._driver)
        try:
            self.value = self._call(spec, job, reservation, timeout, frame)
        except JobTimeout as rang:
            late = self._timed_out(job, timeout, payload, rang)
            signals.announce(signals.job_timed_out, sender, job=job, error=late, duration=timeout)
            return self._ended(Happened.TIMED_OUT, spec, payload, reservation, job, late, began)
        except LeaseLost as lost:
            self.error = lost
            settled = not isinstance(lost, AlreadyDone)
            return Outcome(Happened.DELETED, _DELETED, settled=settled)
        except Exception as error:  # noqa: BLE001 - whatever the job raises is its outcome
            return self._ended(Happened.RAISED, spec, payload, reservation, job, error, began)
        happened = job.verdict or Happened.RETURNED
        return self._ended(
            happened, spec, payload, reservation, job, job.error, began, settled=frame.settled
        )

    # -- running -------------------------------------------------------------------------------

    def _call(
        self, spec: Any, job: CurrentJob, reservation: Reservation, timeout: float, frame: Frame
    ) -> Any:
        """Run ``handle()`` under the timer; inside the job's transaction where it asks for one."""
        with frame.around(job, reservation):
            timer = self._timer
            if timeout:
                timer.start(timeout)
            try:
                value = spec.call(job.instance)
                if value is not None and asyncio.iscoroutine(value):
                    value = _finish_coroutine(value, timeout)
            finally:
                if timeout:
                    timer.stop()
            if timeout and timer.rang:  # swallowed, but its time was over
                raise JobTimeout
            return value

    def _refuse_exhausted(self, payload: Payload, reservation: Reservation) -> None:
        limits = payload.head.limits
        if payload.retry_until is None and reservation.attempt == 1:
            return  # the first attempt always begins
        facts = self.rules.facts(
            limits,
            attempt=reservation.attempt,
            retry_until=payload.retry_until,
            now=time.time(),
        )
        if exhausted(facts):
            why = "its retry_until has passed" if facts.has_retry_until else f"{facts.tries} tries"
            raise MaxAttemptsExceeded(
                f"{payload.head.name} was not begun again: {why}. Its earlier attempts are in its"
                " history. Raise `tries` on the job if it needs more, then retry it."
            )

    def _timed_out(
        self, job: CurrentJob, timeout: float, payload: Payload, rang: JobTimeout
    ) -> TimeoutExceeded:
        own = payload.head.limits.timeout is not None
        tries = self.rules.tries_of(payload.head.limits)
        error = TimeoutExceeded(
            f"{job.name} ran longer than its timeout of {timeout:g} s"
            f"{'' if own else ' (the default)'} and was stopped (attempt {job.attempt}"
            f"{f' of {tries}' if tries else ''}). Raise `timeout` on the job, or split it."
        )
        return error.with_traceback(rang.__traceback__)

    # -- ending --------------------------------------------------------------------------------

    def _ended(
        self,
        happened: Happened,
        spec: Any,
        payload: Payload,
        reservation: Reservation,
        job: CurrentJob,
        error: BaseException | None,
        began: float,
        *,
        settled: bool = False,
    ) -> Outcome:
        """What follows from how the attempt ended, announced but not stored."""
        duration = time.perf_counter() - began
        if job.verdict is not None and happened is Happened.RAISED:
            happened, error = job.verdict, job.error or error
        self.error = error
        if happened is Happened.RETURNED:
            signals.announce(signals.job_succeeded, spec.job_class, job=job, duration=duration)
            return Outcome(happened, _DONE, settled=settled, duration=duration)
        text: str | None = None
        if error is not None:
            text = _remember(reservation, happened, error)
            if happened is Happened.RAISED:
                signals.announce(
                    signals.job_errored, spec.job_class, job=job, error=error, duration=duration
                )
        limits = payload.head.limits
        facts = self.rules.facts(
            limits,
            attempt=reservation.attempt,
            errors=history.read(text or reservation.history).errors,
            interruptions=reservation.interruptions,
            backoff=_own_backoff(spec, job) if error is not None else None,
            retry_until=payload.retry_until,
            now=time.time(),
        )
        decision = decide(happened, facts, job.delay)
        if decision.action is Action.RETRY:
            signals.announce(
                signals.job_released, spec.job_class, job=job, delay=decision.delay, error=error
            )
        described = report(error) if error is not None else None
        return Outcome(happened, decision, described, text, settled, True, duration)

    def _cannot_run(
        self, job: CurrentJob, error: BaseException, reservation: Reservation
    ) -> Outcome:
        self.error = error
        text = _remember(reservation, Happened.FAILED, error)
        return Outcome(Happened.FAILED, _FAILED, report(error), text)

    def failed(self, reservation: Reservation, error: BaseException) -> None:
        """Tell the job, and then everybody, that it was given up. The failed row is safe by now.

        Where no instance can be made, ``failed()`` is not called and ``job_failed`` is sent.
        """
        contextvars.copy_context().run(self._failed, reservation, error)

    def _failed(self, reservation: Reservation, error: BaseException) -> None:
        job = CurrentJob(
            reservation.id,
            reservation.name,
            reservation.queue,
            self.connection,
            reservation.attempt,
        )
        current.set(job)
        sender: Any = None
        try:
            payload = unpacked(decode(reservation.payload))
            spec: Any = registry.find(payload.head.name)
            sender = spec.job_class
            job.instance = spec.load(payload.arguments)
        except Exception:  # noqa: BLE001 - whatever made the job fail may stop it from being made here too
            job.instance = None
        if job.instance is not None:
            try:
                spec.failed(job.instance, error)
            except Exception:  # noqa: BLE001 - the project's code; the job is given up whatever it does
                signals.logger.exception("%s.failed() raised. The job stays failed.", job.name)
        signals.announce(signals.job_failed, sender, job=job, error=error)


_DONE = _DELETED = Decision(Action.DONE)
_FAILED = Decision(Action.FAIL)


def _remember(reservation: Reservation, happened: Happened, error: BaseException) -> str:
    described = report(error)
    return history.add(
        reservation.history,
        reservation.attempt,
        happened.value,
        described.class_name,
        described.message,
        error=happened in (Happened.RAISED, Happened.TIMED_OUT, Happened.FAILED),
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


def _finish_coroutine(coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
    """Run an ``async def handle`` to its end. ORM calls in it stay on this thread's connection."""

    async def run() -> Any:
        handling = asyncio.ensure_future(coroutine)
        await asyncio.wait({handling}, timeout=timeout or None)
        if handling.done():
            return handling.result()
        handling.cancel()
        await asyncio.wait({handling}, timeout=1)
        raise JobTimeout

    return async_to_sync(run)()
