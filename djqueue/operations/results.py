"""`Target`, a job that an operator means, and `Result`, what became of such jobs, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from django.utils.translation import gettext_lazy as _

from djqueue.errors import QueueError, QueueUnavailable
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.compat import LazyText

    Words = str | LazyText

__all__ = [
    "ALIVE_AGAIN",
    "BEING_RETRIED",
    "CHANGED",
    "FINISHED",
    "FORGOTTEN",
    "GONE",
    "NOT_DELAYED",
    "NOT_RUNNING",
    "NOT_SEEN",
    "NOT_STUCK",
    "RETRIED",
    "RUNNING",
    "STUCK",
    "TAKEN_AGAIN",
    "Left",
    "Reason",
    "Result",
    "Target",
    "one_by_one",
]

T = TypeVar("T")


class Target(NamedTuple):
    """A job that an operator means, stored or failed."""

    connection: str
    queue: str
    id: str
    """Its id, or the `StoredJob.key` that its store knows it by."""
    name: str = ""
    row: int | None = None
    """The number of its row, where the operator named that."""
    seen: str | None = ""
    """The reservation that the operator saw. Empty: any. None: the page did not say."""

    @property
    def label(self) -> str:
        """Return name and id, for people."""
        return one_line(f"{self.name} {self.id}")


class Reason(NamedTuple):
    """Why a job was left as it was."""

    one: Words
    """For a single job; may name its worker and the like."""
    many: Words


FINISHED = Reason(
    _("it had already finished or been deleted."),
    _("they had already finished or been deleted."),
)
RUNNING = Reason(
    _("worker %(worker)s started it %(ago)s."),
    _("workers have started them."),
)
TAKEN_AGAIN = Reason(
    _("it was taken again by %(worker)s %(ago)s."),
    _("workers have taken them again."),
)
ALIVE_AGAIN = Reason(
    _("its worker %(worker)s is alive again."),
    _("their workers are alive again."),
)
NOT_SEEN = Reason(
    _("the page did not say which attempt was meant."),
    _("the page did not say which attempts were meant."),
)
NOT_RUNNING = Reason(
    _("it is not running (now: %(state)s)."),
    _("they are not running."),
)
NOT_STUCK = Reason(
    _("it is not stuck (now: %(state)s)."),
    _("they are not stuck."),
)
STUCK = Reason(
    _("it is stuck: its worker is gone. Release it first."),
    _("they are stuck: their workers are gone. Release them first."),
)
NOT_DELAYED = Reason(
    _("it is not delayed (now: %(state)s)."),
    _("they are not delayed."),
)
CHANGED = Reason(
    _("its state changed at the same moment (now: %(state)s)."),
    _("their states changed at the same moment."),
)
RETRIED = Reason(_("it was already retried by %(user)s %(ago)s."), "")
FORGOTTEN = Reason(_("it was already forgotten by %(user)s %(ago)s."), "")
GONE = Reason(
    _("it was already retried or forgotten."),
    _("they were already retried or forgotten."),
)
BEING_RETRIED = Reason(
    _("another operator is retrying it now."),
    _("another operator is retrying them now."),
)


class Left(NamedTuple):
    """A job that was left as it was."""

    reason: Reason
    details: Mapping[str, str] = {}
    """Values for the reason's words."""
    target: Target | None = None

    @property
    def why(self) -> str:
        """Return the reason, about this job."""
        words = str(self.reason.one)
        # Without details the words are a store's own, and may have a percent sign of their own.
        return words % self.details if self.details else words


@dataclass(frozen=True)
class Result:
    """What became of the jobs that were meant."""

    changed: Sequence[Target] = ()
    left: Sequence[Left] = ()
    stopped: Reason | None = None
    """Why the jobs that come next had better be left alone: their store does not answer."""

    @property
    def reasons(self) -> list[tuple[Reason, list[Left]]]:
        """Return the jobs that were left, by reason."""
        groups: dict[tuple[str, str], tuple[Reason, list[Left]]] = {}
        for left in self.left:
            words = str(left.reason.one), str(left.reason.many)
            groups.setdefault(words, (left.reason, []))[1].append(left)
        return list(groups.values())

    def __add__(self, other: Result) -> Result:
        return Result([*self.changed, *other.changed], [*self.left, *other.left], other.stopped)


def one_by_one(
    chosen: int,
    found: Iterable[tuple[Target, T]],
    act: Callable[[Target, T], bool],
    otherwise: Reason,
) -> Result:
    """Call `act` for each that was `found` of those that were `chosen`; it says whether it changed
    something, and if not the reason is `otherwise`. A store that does not answer is asked for no
    further ones.
    """
    result, seen = Result(), 0
    try:
        for target, row in found:
            result += _one(target, row, act, otherwise)
            seen += 1
    except QueueError as error:
        reason = Reason(str(error), str(error))
        return result + Result((), [Left(reason)] * (chosen - seen), reason)
    return result + Result((), [Left(FINISHED)] * (chosen - seen))


def _one(target: Target, row: T, act: Callable[[Target, T], bool], otherwise: Reason) -> Result:
    try:
        if act(target, row):
            return Result([target])
    except QueueUnavailable:
        raise
    except QueueError as error:
        otherwise = Reason(str(error), str(error))
    return Result((), [Left(otherwise, {}, target)])
