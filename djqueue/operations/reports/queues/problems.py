"""What is wrong with a queue, and what to do about it. The texts are made when they are read, in
the reader's language: one report is shown to several users.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from django.utils.translation import gettext, ngettext

from djqueue.dispatch import controls
from djqueue.drivers.base import State
from djqueue.operations.words import grouped, span
from djqueue.text import shell
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from djqueue.operations.reports.queues.queue_status import QueueStatus

__all__ = ["Kind", "Problem", "described", "paused_for", "problems", "resume_command"]


class Kind(Enum):
    """What may be wrong."""

    PAUSED = "paused"
    UNREAD = "unread"
    """No worker reads the queue."""
    STUCK = "stuck"


class Problem(NamedTuple):
    """Something that is wrong with a queue."""

    kind: Kind
    status: QueueStatus
    at_least: bool = False
    """Its jobs were not counted to the end."""

    @property
    def place(self) -> str:
        """Return connection and queue."""
        return f"{self.status.connection}:{self.status.queue}"

    @property
    def state(self) -> State | None:
        """Return the state of the jobs that it is about; None for any."""
        return State.STUCK if self.kind is Kind.STUCK else None

    @property
    def text(self) -> str:
        """Return what is wrong."""
        return _TEXTS[self.kind](self)

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        return _REMEDIES[self.kind](self)

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


def problems(one: QueueStatus, at_most: int | None) -> Iterable[Problem]:
    """Find what is wrong with a queue, of whose jobs `at_most` were counted in each state."""
    held = _held(one)
    at_least = bool(held) and at_most in (one.counts.waiting, one.counts.delayed)
    if one.pause is not None and held:
        yield Problem(Kind.PAUSED, one, at_least)
    elif held and one.workers == 0:
        yield Problem(Kind.UNREAD, one, at_least)
    if one.stuck:
        yield Problem(Kind.STUCK, one)


def paused_for(one: QueueStatus) -> str:
    """Return how long a queue is paused, as `described` does."""
    return gettext("paused") if one.pause is None else described(one.pause)


def described(pause: controls.Pause) -> str:
    """Return a pause as a text: ``paused for another 24 min by anna: SMTP is down``."""
    left = None
    if pause.until is not None:
        left = span(max((pause.until - datetime.now(timezone.utc)).total_seconds(), 0))
    if left is not None and pause.by:
        text = gettext("paused for another %(span)s by %(by)s")
    elif left is not None:
        text = gettext("paused for another %(span)s")
    else:
        text = gettext("paused by %(by)s") if pause.by else gettext("paused")
    why = f": {one_line(masked_text(pause.reason))}" if pause.reason else ""
    return f"{text % {'span': left, 'by': one_line(pause.by)}}{why}"


def resume_command(pause: controls.Pause) -> str:
    """Return the command that ends a pause. That of every queue ends with all others."""
    everything = pause.connection == controls.EVERY_QUEUE
    what = "--all" if everything else f"{pause.connection}:{pause.queue}"
    return shell.manage("queue_resume", what)


def _held(one: QueueStatus) -> int:
    return (one.counts.waiting or 0) + (one.counts.delayed or 0)


def _number(number: int, *, at_least: bool) -> str:
    return gettext("at least %s") % grouped(number) if at_least else grouped(number)


def _paused(problem: Problem) -> str:
    one, held = problem.status, _held(problem.status)
    template = ngettext(
        "%(place)s holds %(count)s job and is %(paused)s.",
        "%(place)s holds %(count)s jobs and is %(paused)s.",
        held,
    )
    count = _number(held, at_least=problem.at_least)
    return template % {"place": problem.place, "count": count, "paused": paused_for(one)}


def _unread(problem: Problem) -> str:
    one, held = problem.status, _held(problem.status)
    if one.oldest is None:
        template = ngettext(
            "%(place)s holds %(count)s job, and no worker reads it.",
            "%(place)s holds %(count)s jobs, and no worker reads it.",
            held,
        )
    else:
        template = ngettext(
            "%(place)s holds %(count)s job, the oldest for %(span)s, and no worker reads it.",
            "%(place)s holds %(count)s jobs, the oldest for %(span)s, and no worker reads it.",
            held,
        )
    count = _number(held, at_least=problem.at_least)
    return template % {"place": problem.place, "count": count, "span": span(one.oldest or 0)}


def _stuck(problem: Problem) -> str:
    template = ngettext(
        "%(place)s has %(count)s job whose worker is gone.",
        "%(place)s has %(count)s jobs whose worker is gone.",
        problem.status.stuck,
    )
    return template % {"place": problem.place, "count": grouped(problem.status.stuck)}


def _resume(problem: Problem) -> str:
    command = "" if problem.status.pause is None else resume_command(problem.status.pause)
    return gettext("Let workers go on with: %s") % command


def _start(problem: Problem) -> str:
    one = problem.status
    return gettext("Start one: %s") % shell.manage(
        "queue_work", one.connection, "--queue", one.queue
    )


def _take_over(problem: Problem) -> str:
    one = problem.status
    if one.workers:
        return gettext("A worker that reads it takes them over within seconds.")
    where = "--queue", one.queue, "--connection", one.connection
    release = shell.manage("queue_release", "--stuck", *where)
    return gettext("Start a worker, which takes them over, or put them back by hand: %s") % release


_TEXTS = {Kind.PAUSED: _paused, Kind.UNREAD: _unread, Kind.STUCK: _stuck}
_REMEDIES = {Kind.PAUSED: _resume, Kind.UNREAD: _start, Kind.STUCK: _take_over}
