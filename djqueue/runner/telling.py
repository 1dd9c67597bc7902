"""Announcing a stored outcome: to the job by ``failed()``, to others by signals and log records."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable
from contextlib import suppress

from djqueue import context, signals
from djqueue.drivers.base import Reservation
from djqueue.errors import JobTimeout, LimitReached, QueueError, TimeoutExceeded
from djqueue.jobs import registry
from djqueue.payload.encryption import ENCRYPTED_CONTEXT
from djqueue.payload.parts import context_text
from djqueue.payload.payload import decode, limits_of
from djqueue.payload.store import unpacked
from djqueue.runner import log
from djqueue.runner.cleanup.stray_fork import StrayFork
from djqueue.runner.current import CurrentJob, current
from djqueue.runner.encrypted.errors import public_error
from djqueue.runner.rules import DEFAULT_TIMEOUT, Rules
from djqueue.runner.timer import Timer


class Teller:
    """Calls ``failed()``, sends signals and writes log records, for jobs of one connection."""

    def __init__(self, connection: str, rules: Rules, timer: Timer, stray_fork: StrayFork) -> None:
        self._connection = connection
        self._rules = rules
        self._timer = timer
        self._stray_fork = stray_fork
        self.logs = True
        """Whether failures are logged: not where the caller gets the error itself."""

    def succeeded(self, job: CurrentJob, duration: float, carried: str) -> None:
        """Announce that a job is done. `carried` is the JSON of its context."""
        contextvars.copy_context().run(self._succeeded, job, duration, carried)

    def cancelled(self, job: CurrentJob, carried: str) -> None:
        """Announce that an operator has stopped a job. `carried` is the JSON of its context."""
        contextvars.copy_context().run(self._cancelled, job, carried)

    def released(
        self,
        reservation: Reservation,
        error: BaseException | None,
        delay: float,
        *,
        unseen: bool = False,
    ) -> None:
        """Announce that another attempt follows, after that error or at the job's own wish."""
        contextvars.copy_context().run(self._released, reservation, error, delay, unseen)

    def failed(
        self,
        reservation: Reservation,
        error: BaseException,
        own: BaseException | None = None,
        *,
        unseen: bool = False,
    ) -> bool:
        """Announce that a job was given up: call ``failed()``, then send ``job_failed``. The failed
        row is stored by now. Return whether this process must not be used again. `own` is what
        ``failed()`` is given in place of `error`, which others may see.

        If no instance can be made, only ``job_failed`` is sent. ``failed()`` has as much time as
        the job itself, loading included; after a longer run the process must not be used again.
        With `unseen` the process of the attempt has died and has announced nothing, so
        ``job_timed_out`` is sent here if that was the reason.
        """
        contextvars.copy_context().run(self._failed, reservation, error, own or error, unseen)
        return self._timer.rang

    def time_to_announce(self, reservation: Reservation) -> float:
        """Return the seconds that ``failed()`` of this job may take. There is always a limit, as
        others wait.
        """
        return self._timeout(reservation) or DEFAULT_TIMEOUT

    def _timeout(self, reservation: Reservation) -> float:
        return self._rules.timeout_of(limits_of(reservation.payload))

    def _succeeded(self, job: CurrentJob, duration: float, carried: str) -> None:
        _enter(job, carried)
        signals.announce(
            signals.job_succeeded, registry.class_of(job.name), job=job, duration=duration
        )

    def _cancelled(self, job: CurrentJob, carried: str) -> None:
        _enter(job, carried)
        signals.announce(signals.job_cancelled, registry.class_of(job.name), job=job)

    def _job(self, reservation: Reservation) -> CurrentJob:
        """Return the job, after making it the current one."""
        job = CurrentJob.of(reservation, self._connection)
        if limits_of(reservation.payload).encrypted:
            job.is_encrypted = True
        _enter(job, context_text(reservation.payload))
        return job

    def _failed(
        self, reservation: Reservation, error: BaseException, own: BaseException, unseen: bool
    ) -> None:
        job = self._job(reservation)
        if self.logs:
            log.given_up(job, error)

        def tell() -> None:
            try:
                payload = unpacked(decode(reservation.payload))
                definition = registry.find(payload.head.name)
                job.instance = definition.load(payload.arguments)
            except Exception:  # noqa: BLE001 - whatever made the job fail may stop it here too
                return
            definition.failed(job.instance, own)

        if unseen:
            self._announce_timeout(reservation, job, error)
        seconds, what = self.time_to_announce(reservation), f"{job.name}.failed()"
        self._in_time(seconds, tell, what, job.is_encrypted)
        signals.announce(signals.job_failed, registry.class_of(job.name), job=job, error=error)

    def _released(
        self, reservation: Reservation, error: BaseException | None, delay: float, unseen: bool
    ) -> None:
        job = self._job(reservation)
        if unseen and error is not None:
            self._announce_timeout(reservation, job, error)
        if isinstance(error, LimitReached):
            error.retry_in = delay
            log.held_back(job, error)
        elif self.logs and error is not None:
            log.will_be_retried(job, error, delay)
        signals.announce(
            signals.job_released, registry.class_of(job.name), job=job, delay=delay, error=error
        )

    def _announce_timeout(
        self, reservation: Reservation, job: CurrentJob, error: BaseException
    ) -> None:
        """Send ``job_timed_out``: the process that ran the job was killed, so this one does it."""
        if isinstance(error, TimeoutExceeded):
            timeout, sender = self._timeout(reservation), registry.class_of(job.name)
            signals.announce(signals.job_timed_out, sender, job=job, error=error, duration=timeout)

    def _in_time(self, seconds: float, work: Callable[[], None], what: str, hides: bool) -> None:
        """Do `work`, which is the project's code, in at most `seconds`."""
        timer = self._timer
        try:
            try:
                timer.start(seconds)
                work()
            finally:
                timer.stop()
                self._stray_fork.end_here()
        except BaseException as error:
            timer.stop()
            if isinstance(error, KeyboardInterrupt) and not timer.owns_process:
                raise
            shown = public_error(error, hides=hides)
            if isinstance(error, JobTimeout):
                signals.logger.error(
                    "%s ran longer than %g s and was stopped. The job stays failed.",
                    what,
                    seconds,
                    exc_info=shown,
                )
            else:
                signals.logger.error("%s raised. The job stays failed.", what, exc_info=shown)


def _enter(job: CurrentJob, carried: str) -> None:
    """Make `job` the current one, with its context as far as that can be read."""
    current.set(job)
    if registry.is_encrypted(job.name):
        job.is_encrypted = True
    if carried:
        with suppress(QueueError, ValueError):  # the job has failed for that reason
            kept = json.loads(carried)
            job.is_encrypted = job.is_encrypted or ENCRYPTED_CONTEXT in kept
            context.enter(kept)
