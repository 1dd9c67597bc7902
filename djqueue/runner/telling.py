"""What is told of an attempt when its outcome is stored: to the job, and to everybody."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from djqueue import signals
from djqueue.drivers.base import Reservation
from djqueue.errors import JobTimeout, TimeoutExceeded, UnknownJob
from djqueue.jobs import registry
from djqueue.payload.payload import decode, head_of
from djqueue.payload.store import unpacked
from djqueue.runner import log
from djqueue.runner.cleanup.twin import Twin
from djqueue.runner.current import CurrentJob, current
from djqueue.runner.rules import DEFAULT_TIMEOUT, Rules
from djqueue.runner.timer import Timer


class Teller:
    """Calls ``failed()`` and sends signals, for jobs of one connection."""

    def __init__(self, connection: str, rules: Rules, timer: Timer, twin: Twin) -> None:
        self._connection = connection
        self._rules = rules
        self._timer = timer
        self._twin = twin

    def failed(self, reservation: Reservation, error: BaseException, *, killed: bool) -> bool:
        """Tell the job, and then everybody, that it was given up. The failed row is safe by now.

        Where no instance can be made, ``failed()`` is not called and ``job_failed`` is sent. It
        has as much time as the job itself, loading included; whether it took longer, so that this
        process must not be used again. With `killed` the attempt could say nothing itself.
        """
        contextvars.copy_context().run(self._failed, reservation, error, killed)
        return self._timer.rang

    def released(self, reservation: Reservation, error: BaseException, delay: float) -> None:
        """Tell everybody of an attempt that could say nothing itself, and that another follows."""
        contextvars.copy_context().run(self._released, reservation, error, delay)

    def time_to_tell(self, reservation: Reservation) -> float:
        """Seconds that ``failed()`` of this job may take. Never without a limit: others wait."""
        return self._timeout(reservation) or DEFAULT_TIMEOUT

    def _timeout(self, reservation: Reservation) -> float:
        head = head_of(reservation.payload)
        return self._rules.timeout_of(head.limits) if head else self._rules.timeout

    def _failed(self, reservation: Reservation, error: BaseException, killed: bool) -> None:
        job = CurrentJob.of(reservation, self._connection)
        current.set(job)

        def tell() -> None:
            try:
                payload = unpacked(decode(reservation.payload))
                spec: Any = registry.find(payload.head.name)
                job.instance = spec.load(payload.arguments)
            except Exception:  # noqa: BLE001 - whatever made the job fail may stop it here too
                return
            spec.failed(job.instance, error)

        sender = _sender(reservation)
        if killed:
            self._announce_timeout(reservation, job, sender, error)
        self._in_time(self.time_to_tell(reservation), tell, f"{job.name}.failed()")
        signals.announce(signals.job_failed, sender, job=job, error=error)

    def _released(self, reservation: Reservation, error: BaseException, delay: float) -> None:
        job = CurrentJob.of(reservation, self._connection)
        current.set(job)
        sender = _sender(reservation)
        self._announce_timeout(reservation, job, sender, error)
        log.will_be_retried(job, error, delay)
        signals.announce(signals.job_released, sender, job=job, delay=delay, error=error)

    def _announce_timeout(
        self, reservation: Reservation, job: CurrentJob, sender: Any, error: BaseException
    ) -> None:
        """The process that ran the job was killed; this one says so."""
        if isinstance(error, TimeoutExceeded):
            timeout = self._timeout(reservation)
            signals.announce(signals.job_timed_out, sender, job=job, error=error, duration=timeout)

    def _in_time(self, seconds: float, work: Callable[[], None], what: str) -> None:
        """Do `work`, which is the project's code, in at most so many seconds."""
        timer = self._timer
        try:
            try:
                timer.start(seconds)
                work()
            finally:
                timer.stop()
                self._twin.end_here()
        except BaseException as error:
            timer.stop()
            if isinstance(error, KeyboardInterrupt) and not timer.owns_process:
                raise
            if isinstance(error, JobTimeout):
                signals.logger.error(
                    "%s ran longer than %g s and was stopped. The job stays failed.",
                    what,
                    seconds,
                    exc_info=error,
                )
            else:
                signals.logger.exception("%s raised. The job stays failed.", what)


def _sender(reservation: Reservation) -> Any:
    """The job's class; None where its name is unknown here."""
    head = head_of(reservation.payload)
    try:
        return registry.find(head.name).job_class if head else None
    except UnknownJob:
        return None
