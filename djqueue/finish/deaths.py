"""The outcome of an attempt that could not report one: its process or its worker is gone."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from djqueue.drivers.base import Reservation
from djqueue.errors import InvalidPayload
from djqueue.payload.payload import Limits, decode, limits_of
from djqueue.runner.conclude import conclude
from djqueue.runner.decision import CANCEL, Ending
from djqueue.runner.outcome import ErrorReport, Outcome
from djqueue.runner.rules import Rules

_ERRORS = "djqueue.errors."


@dataclass(frozen=True)
class Dead:
    """What its worker knows of a job whose process cannot speak any more."""

    reservation: Reservation
    limits: Limits
    retry_until: float | None = None
    delay: float = 0.0
    is_uncharged: bool = False
    duration: float = 0.0
    hides: bool = False
    """All words are those of this module."""

    @classmethod
    def of(cls, reservation: Reservation) -> Dead:
        """Make the rules from the payload, as far as it can be read."""
        limits = limits_of(reservation.payload)
        try:
            return cls(reservation, limits, decode(reservation.payload).retry_until)
        except InvalidPayload:
            return cls(reservation, limits)

    def may_retry(self, error: object) -> bool:
        """Return True: the job raised nothing."""
        return True

    def own_backoff(self) -> None:
        """Return None: its worker cannot call the project's code."""


def died(reservation: Reservation, rules: Rules, status: int, dump: str) -> Outcome:
    """Return the outcome of a job whose process ended while its parent watched: the attempt
    counts.
    """
    return _outcome(
        reservation,
        rules,
        Ending.DIED,
        "ProcessDied",
        _how_it_died(status),
        dump or _no_dump(status),
    )


def timed_out(reservation: Reservation, rules: Rules, after: float, dump: str) -> Outcome:
    """Return the outcome of a job that ignored its soft timeout and was killed after `after`
    seconds.
    """
    timeout = rules.timeout_of(limits_of(reservation.payload))
    message = (
        f"{reservation.name} ran longer than its timeout of {timeout:g} s, did not react, and was"
        f" killed after {after:.1f} s. Raise `timeout` on the job, or split it."
    )
    return _outcome(reservation, rules, Ending.TIMED_OUT, "TimeoutExceeded", message, dump)


def grew(reservation: Reservation, rules: Rules, used: int, limit: int) -> Outcome:
    """Return the outcome of a job that was killed because of its memory."""
    message = (
        f"{reservation.name} was killed because its process had grown to {used >> 20} MB, above"
        f" --memory-kill {limit >> 20}. Make it need less at a time, or raise the limit."
    )
    return _outcome(reservation, rules, Ending.DIED, "MemoryExceeded", message, "")


def interrupted(
    reservation: Reservation, rules: Rules, why: str, *, stopped: bool = False
) -> Outcome:
    """Return the outcome of a job whose end is unknown: an interruption, not an attempt, until
    there are too many. Interruptions by a worker that was `stopped` in good order do not count, as
    they are no sign of a job that kills workers; but with ``max_interruptions=0`` no second run
    begins by itself, whatever ended the first.
    """
    dead = Dead(reservation, limits_of(reservation.payload))
    stopped = stopped and dead.limits.max_interruptions > 0
    ending = Ending.STOPPED if stopped else Ending.INTERRUPTED
    error = ErrorReport(f"{_ERRORS}WorkerLost", why, "")
    return _unseen(conclude(dead, ending, error, rules, time.time()))


NEVER_BEGUN = Outcome(Ending.CANCELLED, CANCEL, passed_on={"cancelled": True})
"""Of a job that an operator stopped while it waited for a child."""
KILLED = NEVER_BEGUN._replace(unseen=True)
"""Of a job that an operator stopped while it ran."""


def stacks(dump: str) -> str:
    """Return what faulthandler wrote, without the frames that called the job."""
    if "most recent call first" not in dump:
        return dump
    first, _, rest = dump.partition("\n")
    kept = ["Stacks at the moment it was killed:" if first == _KILLED else first]
    in_job = skipping = False
    for line in rest.partition("\nExtension modules:")[0].rstrip().splitlines():
        if not line.startswith("  File "):
            in_job = skipping = False
        elif not line.startswith(_OURS):
            in_job = True
        elif in_job:
            skipping = True
        if not skipping:
            kept.append(line)
    return "\n".join(kept) + "\n"


_KILLED = "Fatal Python error: Aborted"
_OURS = f'  File "{Path(__file__).parents[1]}{os.sep}'


def _outcome(
    reservation: Reservation,
    rules: Rules,
    ending: Ending,
    class_name: str,
    message: str,
    dump: str,
) -> Outcome:
    class_name = _ERRORS + class_name
    traceback = f"{class_name}: {message}\n{dump}".replace("\0", "\\x00")
    error = ErrorReport(class_name, message, traceback)
    return _unseen(conclude(Dead.of(reservation), ending, error, rules, time.time()))


def _unseen(outcome: Outcome) -> Outcome:
    """Return `outcome` as one of a job whose class is not known here: a child has to find out
    whether code of the project waits for it.
    """
    return outcome._replace(unseen=True, awaited=True)


def _how_it_died(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL:
            return (
                "Its process was killed by signal 9: by a person, or by the kernel for want of"
                " memory."
            )
        return f"Its process died of signal {number} ({signal.strsignal(number)})."
    return f"Its process ended by itself, with exit code {os.waitstatus_to_exitcode(status)}."


def _no_dump(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "There is no dump of its stack: signal 9 leaves no time for one.\n"
    return ""
