"""The attempt: one run of a reserved job, as a value that its steps fill."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from djqueue.errors import InvalidPayload, MaxAttemptsExceeded
from djqueue.jobs import registry
from djqueue.payload import history
from djqueue.payload.backoff import Backoff
from djqueue.payload.encryption import refuse_plain
from djqueue.payload.payload import Limits, Payload, decode, known_head
from djqueue.payload.store import unpacked
from djqueue.runner.current import UNWATCHED, CurrentJob, Watch
from djqueue.runner.decision import Facts, exhausted
from djqueue.runner.encrypted.errors import public_error
from djqueue.runner.outcome import ErrorReport, report, without_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.drivers.base import Reservation
    from djqueue.jobs.definition.spec import JobSpec
    from djqueue.runner.atomic import Scope
    from djqueue.runner.outcome import Outcome, PassedOn
    from djqueue.runner.rules import Rules

logger = logging.getLogger("djqueue")


class Binding(Protocol):
    """Knows what the links in a payload mean."""

    def enter(self, job: CurrentJob, links: Mapping[str, Any]) -> None:
        """Give a job that is about to run what its links stand for."""

    def leave(self, job: CurrentJob, definition: JobSpec, value: Any) -> PassedOn:
        """What a job passes on to those that follow it, when it has returned `value`."""


class Unbound:
    """Where jobs run alone, whatever their payloads say."""

    def enter(self, job: CurrentJob, links: Mapping[str, Any]) -> None:
        """Nothing."""

    def leave(self, job: CurrentJob, definition: JobSpec, value: Any) -> PassedOn:
        """Nothing."""
        return {}


class Exhausted(Exception):  # noqa: N818 - not an error, and never seen outside of this package
    """Ends an attempt before it begins: no try is left, or no time."""

    def __init__(self, reason: ErrorReport) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Attempt:
    """What is known of one run of a job. `read` and what follows it are called in this order, and
    leave as exceptions where the job cannot be run.
    """

    definition: JobSpec | None = None
    """None while its name has not been found."""
    payload: Payload | None = None
    is_bound = False
    """Its payload has links: others follow from how it ends."""
    unpacked = False
    """All of the payload is here, also what its store kept apart."""
    scope: Scope | None = None
    """What ``handle()`` runs in; None until it is about to be called."""
    value: Any = None
    """What ``handle()`` returned."""
    error: BaseException | None = None
    """What it raised, or gave to ``fail()``."""
    outcome: Outcome | None = None
    """None while it runs."""

    def __init__(
        self, reservation: Reservation, connection: str, rules: Rules, watch: Watch = UNWATCHED
    ) -> None:
        self.reservation = reservation
        id, queue, name, payload, number, interruptions, *_ = reservation
        self.job = CurrentJob(id, name, queue, connection, number, watch)
        if interruptions:
            self.job.interruptions = interruptions
        self._head = known = known_head(payload)
        self.limits = known.head.limits if known else _NO_LIMITS
        if self.limits.encrypted:
            self.job.is_encrypted = True
        self.timeout = rules.timeout_of(self.limits)
        """Seconds that it may take; 0: without a limit."""
        self.began = time.perf_counter()

    # -- the steps -----------------------------------------------------------------------------

    def read(self) -> Payload:
        """Parse what the store holds. Raises `InvalidPayload` if that is not this job's."""
        reservation = self.reservation
        payload = decode(reservation.payload, self._head)
        if payload.id != reservation.id:
            raise InvalidPayload(f"The payload belongs to job {payload.id}.")
        self.payload = payload
        self.job.name = payload.head.name
        return payload

    def identify(self, payload: Payload) -> JobSpec:
        """Find the definition. Raises `UnknownJob` if no running code has one."""
        name = payload.head.name
        definition = self.definition = registry.find(name)
        if name != self.reservation.name:
            raise InvalidPayload(
                f"The store calls this job {self.reservation.name!r:.300}, and its payload"
                f" {name!r:.300}: one of the two was altered."
            )
        return definition

    def unpack(self, payload: Payload) -> Payload:
        """Fetch the arguments that the payload does not show, and decrypt them. Raises
        `QueueUnavailable` if their store is away, `Undecryptable` without a key, and
        `InvalidPayload` for a plain payload of a job that is encrypted.
        """
        if payload.packed is not None or self.limits.encrypted:
            payload = self.payload = unpacked(payload)
        definition = self.definition
        if definition is not None and definition.options.encrypted and not self.limits.encrypted:
            refuse_plain(definition.name)
        self.unpacked = True
        return payload

    def refuse_if_exhausted(self, rules: Rules) -> None:
        """Raise `Exhausted` if the tries are used up, or ``retry_until`` has passed."""
        number, until = self.reservation.attempt, self.retry_until
        if number > 1 or until is not None:
            facts = rules.facts(self.limits, number, until, time.time())
            if exhausted(facts):
                raise Exhausted(_why_not_begun(self.job.name, self.reservation, facts))

    # -- how it ended --------------------------------------------------------------------------

    @property
    def sender(self) -> type | None:
        """The job's class, which sends its signals; None if its name is unknown."""
        return None if self.definition is None else self.definition.job_class

    @property
    def retry_until(self) -> float | None:
        """The time in the payload."""
        return None if self.payload is None else self.payload.retry_until

    @property
    def delay(self) -> float:
        """The seconds that ``release()`` was given."""
        return self.job.delay

    @property
    def is_uncharged(self) -> bool:
        """Whether it was released because its worker stops."""
        return self.job.is_uncharged

    @property
    def duration(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self.began

    @property
    def hides(self) -> bool:
        """Whether the words of an exception may repeat what is encrypted."""
        return self.unpacked and self.limits.encrypted

    def may_retry(self, error: object) -> bool:
        """Return whether the job's options let it be tried again after that exception."""
        return self.definition is None or self.definition.may_retry(error)

    def own_backoff(self) -> Backoff | None:
        """Return the instance's ``backoff()``, if it has one and it works; else None."""
        definition, job = self.definition, self.job
        if definition is None or job.instance is None:
            return None
        try:
            return definition.backoff(job.instance)
        except Exception as error:
            logger.error(
                "%s.backoff() raised; the stored backoff is used.",
                job.name,
                exc_info=public_error(error, hides=self.hides),
            )
            return None

    def forget(self) -> None:
        """Drop what it raised and returned, and what their frames hold."""
        if self.error is not None:
            without_frames(self.error)
        self.error = self.value = None


_NO_LIMITS = Limits()


def _why_not_begun(name: str, reservation: Reservation, facts: Facts) -> ErrorReport:
    """Return the last error of the job; without one, that there was no time or no try for it."""
    ran = reservation.attempt - 1
    runs = f"after {ran} attempt{'' if ran == 1 else 's'}" if ran else "before its first attempt"
    if facts.has_retry_until:
        why = f"its retry_until had passed {runs}"
        advice = "Give `retry_until` more time, or have more workers read the queue."
    else:
        why = f"it had used up its {facts.tries} {'try' if facts.tries == 1 else 'tries'}"
        advice = "Raise `tries` on the job if it needs more."
    text = f"{name} was not begun again: {why}." if ran else f"{name} was not begun: {why}."
    last = history.last_error(history.read(reservation.history))
    if last is None:
        return report(MaxAttemptsExceeded(f"{text} {advice}"))
    return ErrorReport(
        last.class_name,
        last.message,
        f"{last.class_name}: {last.message}\n\nThat was attempt {last.attempt}, whose traceback is"
        f" not kept. {text} {advice}\n",
        encrypted=last.encrypted,
    )
