"""Running one attempt: `Runner.run` is the way of a job from its reservation to its outcome.

Nothing here stores anything, but for `atomic` jobs, whose end is part of their own transaction.
"""

from __future__ import annotations

import contextvars
import logging
import time
from typing import TYPE_CHECKING, Any

from djqueue import context, signals
from djqueue.drivers.base import Reservation
from djqueue.errors import (
    BatchCancelled,
    JobTimeout,
    LeaseLost,
    LimitReached,
    ModelMissing,
    PayloadError,
    QueueUnavailable,
    TimeoutExceeded,
    Undecryptable,
    UnknownJob,
)
from djqueue.middleware.pipeline import Pipelines
from djqueue.runner import log
from djqueue.runner.atomic import AlreadyDone, FinishOfThread, scope_for
from djqueue.runner.attempt import Attempt, Binding, Exhausted, Unbound
from djqueue.runner.cleanup.stray_fork import StrayFork
from djqueue.runner.conclude import conclude
from djqueue.runner.coroutines import run_coroutine
from djqueue.runner.current import UNWATCHED, CurrentJob, Watch, current
from djqueue.runner.decision import DONE, RETURNED, TIMED_OUT, Action, Ending
from djqueue.runner.encrypted.errors import public_error, revealed
from djqueue.runner.outcome import ErrorReport, Outcome, exception_of
from djqueue.runner.rules import Rules
from djqueue.runner.telling import Teller
from djqueue.runner.timer import Timer
from djqueue.text.marks import in_own_words
from djqueue.tracing.running import run_traced
from djqueue.tracing.tracing import tracing

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobSpec


LEAST = 0.001
"""Seconds of the timeout that are left at least."""


class Runner:
    """Runs the jobs of one connection in this thread, one after another."""

    def __init__(
        self,
        connection: str,
        rules: Rules,
        *,
        timer: Timer | None = None,
        watch: Watch = UNWATCHED,
        finish: FinishOfThread | None = None,
        binding: Binding | None = None,
    ) -> None:
        self.connection = connection
        self.rules = rules
        self._timer = timer or Timer()
        self._pipelines = Pipelines(self._finish_within)
        own = self._timer.owns_process
        self._watch = watch._replace(left=self._timer.left) if own else watch
        self._finish = finish
        self._binding = binding or Unbound()
        self.stray_fork = StrayFork()
        self.teller = Teller(connection, rules, self._timer, self.stray_fork)

    def attempt(self, reservation: Reservation) -> Attempt:
        """The attempt that begins with a reservation."""
        return Attempt(reservation, self.connection, self.rules, self._watch)

    def run(self, attempt: Attempt) -> Outcome:
        """Run one attempt. Whatever the job raises is its outcome, `SystemExit` and its like
        included. `KeyboardInterrupt` passes where the process is not the jobs' own: it is Ctrl-C.
        """
        own = contextvars.copy_context()
        if (tracer := tracing.tracer) is not None:
            return own.run(run_traced, tracer, self._run, attempt)
        return own.run(self._run, attempt)

    def _run(self, attempt: Attempt) -> Outcome:
        current.set(attempt.job)
        timer = self._timer
        raised: BaseException | None = None
        try:
            try:
                timer.start(attempt.timeout)
                payload = attempt.read()
                definition = attempt.identify(payload)
                payload = attempt.unpack(payload)
                if payload.context:
                    context.enter(payload.context)
                if payload.links:
                    attempt.is_bound = True
                    self._binding.enter(attempt.job, payload.links)
                attempt.refuse_if_exhausted(self.rules)
                attempt.job.instance = definition.load(payload.arguments)
                signals.announce(signals.job_started, definition.job_class, job=attempt.job)
                outcome = self._handle(attempt, definition)
            finally:
                timer.stop()
                if self.stray_fork.is_here:
                    self.stray_fork.end_here()
        except BaseException as error:
            timer.stop()  # it may have rung on the way to the other stop, and would again
            if isinstance(error, KeyboardInterrupt) and not timer.owns_process:
                raise
            raised = error
        if raised is not None:
            # Out here: what receivers of signals raise must not have it as their context.
            outcome = self._raised(attempt, raised)
            raised = None  # its frames hold this one
            if attempt.is_bound:
                outcome = _with_progress(outcome, attempt.job)
        if _is_awaited(attempt, outcome):
            outcome = outcome._replace(awaited=True)
        if timer.rang or outcome.ending is TIMED_OUT:
            return outcome._replace(spoilt=True)
        return outcome

    def _handle(self, attempt: Attempt, definition: JobSpec) -> Outcome:
        """Run ``handle()``, inside the job's transaction where it asks for one, and conclude. The
        timer stops before that is committed: a commit must not be interrupted half-way.
        """
        timer, job = self._timer, attempt.job
        scope = attempt.scope = scope_for(
            attempt.limits.atomic, attempt.reservation, self.connection, self._finish
        )
        with scope.around():
            try:
                pipeline = self._pipelines[definition]
                value = definition.call(job.instance) if pipeline is None else pipeline(job)
                if value is not None:
                    value = run_coroutine(value, timer)
            finally:
                timer.stop()
                if self.stray_fork.is_here:  # before the transaction, which is not its own, ends
                    self.stray_fork.end_here()
            if timer.rang:  # swallowed, but its time was over
                raise JobTimeout
            attempt.value = value
            attempt.error = job.error
            ending = job.requested
            if ending is None:
                ending = RETURNED
            elif ending is Ending.DELETED and not job.is_begun:
                log.skipped(job)
            outcome = conclude(attempt, ending, job.error, self.rules, time.time())
            if attempt.is_bound:
                if outcome.decision is DONE:
                    passed_on = self._binding.leave(job, definition, value)
                    outcome = outcome._replace(passed_on=passed_on)
                outcome = _with_progress(outcome, job)
            outcome = attempt.outcome = scope.finish(outcome)
        return outcome

    def _finish_within(self, coroutine: Any) -> Any:
        """What a coroutine returns, for a middleware that goes on when it has ended."""
        left, began = self._timer.left(), time.monotonic()
        value = run_coroutine(coroutine, self._timer)
        if left is not None:
            self._timer.start(max(left - (time.monotonic() - began), LEAST))
        return value

    def _conclude(
        self, attempt: Attempt, ending: Ending, error: BaseException | ErrorReport
    ) -> Outcome:
        outcome = conclude(attempt, ending, error, self.rules, time.time())
        if outcome.error is not None:
            if isinstance(error, ErrorReport):
                error = exception_of(revealed(error, attempt.reservation))
            attempt.error = error
        return outcome

    # -- what was raised -----------------------------------------------------------------------

    def _raised(self, attempt: Attempt, error: BaseException) -> Outcome:
        """What follows from an exception, wherever it came from."""
        job, scope = attempt.job, attempt.scope
        if scope is not None and scope.committed and attempt.outcome is not None:
            log.raised_after_commit(job, public_error(error, hides=attempt.hides))
            return attempt.outcome
        if isinstance(error, JobTimeout) or self._timer.rang:
            return self._timed_out(attempt, error)
        if scope is not None:
            return self._raised_by_job(attempt, error)
        if isinstance(error, _NOT_HERE if not attempt.unpacked else Undecryptable):
            return self._conclude(attempt, Ending.UNKNOWN, _explained(error))
        if isinstance(error, Exhausted):
            return self._conclude(attempt, Ending.EXHAUSTED, error.reason)
        if isinstance(error, ModelMissing):
            return self._conclude(attempt, Ending.MISSING, error)
        if isinstance(error, PayloadError):
            return self._conclude(attempt, Ending.FAILED, error)
        if isinstance(error, BatchCancelled):
            outcome = self._conclude(attempt, Ending.DELETED, error)
            return outcome._replace(passed_on={"cancelled": True})
        # Decoding runs the project's code: fields, managers, enums.
        return self._raised_by_job(attempt, error)

    def _raised_by_job(self, attempt: Attempt, error: BaseException) -> Outcome:
        job = attempt.job
        if isinstance(error, AlreadyDone):
            return error.outcome or self._conclude(attempt, Ending.DELETED, error)
        if isinstance(error, LeaseLost) and attempt.scope is not None:
            return self._conclude(attempt, Ending.LOST, error)
        if job.requested is not None:
            return self._conclude(attempt, job.requested, job.error or error)
        if isinstance(error, LimitReached):
            job.delay = error.retry_in
            return self._conclude(attempt, Ending.HELD_BACK, error)
        outcome = self._conclude(attempt, Ending.RAISED, error)
        shown = public_error(error, hides=attempt.hides)
        signals.announce(
            signals.job_errored, attempt.sender, job=job, error=shown, duration=outcome.duration
        )
        return outcome

    def _timed_out(self, attempt: Attempt, rang: BaseException) -> Outcome:
        job, limits = attempt.job, attempt.limits
        tries = self.rules.tries_of(limits)
        late = TimeoutExceeded(
            f"{job.name} ran longer than its timeout of {attempt.timeout:g} s"
            f"{'' if limits.timeout is not None else ' (the default)'} and was stopped (attempt"
            f" {job.attempt}{f' of {tries}' if tries else ''}). Raise `timeout` on the job, or"
            " split it."
        )
        if not isinstance(rang, JobTimeout):  # the job made another error of it
            late.__cause__ = rang
        late = in_own_words(late.with_traceback(rang.__traceback__))
        shown = public_error(late, hides=attempt.hides)
        signals.announce(
            signals.job_timed_out, attempt.sender, job=job, error=shown, duration=attempt.timeout
        )
        return self._conclude(attempt, Ending.TIMED_OUT, late)


_NOT_HERE = UnknownJob, QueueUnavailable, Undecryptable
"""Why a job cannot be run by this process now: another one may have its code, or the key."""
_IMPORTED = (
    "Workers import the jobs.py of each installed app: if it is in another module, as views.py,"
    " import it from there."
)


def _explained(error: BaseException) -> BaseException:
    return UnknownJob(f"{error} {_IMPORTED}") if isinstance(error, UnknownJob) else error


def _with_progress(outcome: Outcome, job: CurrentJob) -> Outcome:
    """The last that it said of how far it has come goes with its end."""
    if job.reported is None:
        return outcome
    return outcome._replace(passed_on={**outcome.passed_on, "progress": job.reported})


def _is_awaited(attempt: Attempt, outcome: Outcome) -> bool:
    """Whether code of the project is to be called when the outcome is stored."""
    if outcome.ending is RETURNED:
        return bool(signals.job_succeeded.receivers)
    action, definition = outcome.decision.action, attempt.definition
    if action is Action.FAIL:
        hears = definition is not None and definition.has_failed_method
        return hears or bool(signals.job_failed.receivers) or log.is_handled(logging.ERROR)
    if action is Action.RETRY and outcome.ending is not Ending.UNKNOWN:
        level = logging.INFO if outcome.ending is Ending.HELD_BACK else logging.WARNING
        logged = outcome.error is not None and log.is_handled(level)
        return logged or bool(signals.job_released.receivers)
    return False
