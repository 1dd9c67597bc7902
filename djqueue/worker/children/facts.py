"""What `Children` tells the loop, and what became of the work of a child that exited."""

from __future__ import annotations

from typing import NamedTuple

from djqueue.drivers.base import Reservation
from djqueue.finish import deaths as postmortem
from djqueue.runner.decision import LOST
from djqueue.runner.outcome import End, Outcome
from djqueue.worker.children.channel import WorkItem
from djqueue.worker.children.page import Reason
from djqueue.worker.children.process import Broken, Cancelled, Process, Stopped, TooLarge
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.notices import Notice

HOLD_LOST = "The connection that held it broke, and other workers may be given it."


class Ended(NamedTuple):
    """Attempts of one child ended, in this order: it reported them, or did not survive them."""

    ends: list[End]
    memory: int = 0
    """Bytes that the child occupied after the last, where that is above ``--memory``."""


class Delivered(NamedTuple):
    """A child delivered a notice."""

    notice: Notice


class Unbegun(NamedTuple):
    """Work that a child was given and will not begin: it is for another child, or the store."""

    jobs: list[Reservation]
    notices: list[Notice]


class LongRunning(NamedTuple):
    """A job runs for longer than those that were waiting behind it should wait."""

    name: str
    seconds: float


Fact = Ended | Delivered | Unbegun | LongRunning


class ExitedChild(NamedTuple):
    """A child that the warden has reaped, or that could not be started."""

    process: Process
    status: int
    """As `os.waitpid` gives it."""
    reason: Reason
    after: float
    """Seconds that its job had run, where the warden has ended it."""

    @classmethod
    def of(cls, process: Process, status: int) -> ExitedChild:
        """Return the facts about `process`, with what the warden wrote into its slot."""
        return cls(process, status, process.slot.reason, process.slot.after)


def end_of(exited: ExitedChild, item: WorkItem, settings: ChildSettings, now: float) -> End:
    """Return the end of the attempt that a child had begun before it exited."""
    outcome = outcome_of(exited, item, settings)
    if (running := exited.process.running()) and running[0] is item:
        outcome = outcome._replace(duration=now - running[1].since)
    if (said := exited.process.slot.reported()) and said.number == item.number:
        outcome = outcome._replace(passed_on={**outcome.passed_on, "progress": said.progress})
    if exited.process.was_cancelled(item, outcome):
        outcome = outcome._replace(ending=LOST)
    return End(item.reservation, outcome)


def outcome_of(exited: ExitedChild, item: WorkItem, settings: ChildSettings) -> Outcome:
    """Return the outcome of that attempt, from what the warden and the parent know."""
    process, rules, reservation = exited.process, settings.rules, item.reservation
    if exited.reason is Reason.TIMEOUT:
        return postmortem.timed_out(reservation, rules, exited.after, process.dump())
    if exited.reason in _INTERRUPTED:
        why = _INTERRUPTED[exited.reason].format(grace=settings.grace)
        return postmortem.interrupted(reservation, rules, why, stopped=exited.reason in _STOPPED)
    match process.killed_for:
        case TooLarge(used, limit):
            return postmortem.grew(reservation, rules, used, limit)
        case Cancelled(number) if number == item.number:
            return postmortem.KILLED
        case Broken(why):
            return postmortem.interrupted(reservation, rules, why, stopped=False)
        case Stopped(why):
            return postmortem.interrupted(reservation, rules, why, stopped=True)
    return postmortem.died(reservation, rules, exited.status, process.dump())


_INTERRUPTED = {
    Reason.LEASE: "Its worker could not reach the store and stopped it before its lease ended.",
    Reason.GRACE: "It was stopped by a shutdown after --grace {grace:g} s.",
    Reason.SECOND_SIGNAL: "It was stopped by a second signal to its worker.",
    Reason.WARDEN: "The process that watches over it was killed, and it ended with that.",
}

_STOPPED = (Reason.GRACE, Reason.SECOND_SIGNAL)
"""Orderly ends of a worker."""
