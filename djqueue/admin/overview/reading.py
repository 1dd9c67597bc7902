"""What the overview shows, read from every store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from django.db import DatabaseError
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from djqueue.admin.lists import links
from djqueue.admin.overview.kept import Kept
from djqueue.conf import settings
from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.drivers.base import State
from djqueue.finish.failed import table
from djqueue.operations.reports import failures, parked
from djqueue.operations.reports.parked import Parked
from djqueue.operations.reports.queues import problems, status
from djqueue.operations.reports.queues.queue_status import QueueStatus
from djqueue.operations.words import relative, span
from djqueue.text import printable as text
from djqueue.text import shell
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

    User = AbstractBaseUser | AnonymousUser | PermissionsMixin

__all__ = ["GROUPS", "WITHIN", "Overview", "Problem", "Queue", "counted", "look"]

WITHIN = 2.0
"""Seconds in which a store has to answer."""
GROUPS = 10
"""Groups of failed jobs that the page shows."""
HOUR = timedelta(hours=1)
KEEP_FOR = 4.0
"""Seconds for which a process shows the same answer to all who look."""
_Part = TypeVar("_Part")
AT_MOST = 10_000
"""Jobs that are counted one by one in a state of a queue, or of a connection."""


class Problem(NamedTuple):
    """What is wrong, what to do about it, and where to look."""

    text: str
    remedy: str = ""
    url: str = ""
    link: str = ""


class Queue(NamedTuple):
    """A row of the table of queues."""

    status: QueueStatus
    url: str
    oldest: str
    words: str
    """Its state in words, with the reason of a pause."""
    kind: str
    """The colour of the words."""
    own_pause: bool
    """It is paused by itself, not with all others."""

    @property
    def numbers(self) -> Sequence[tuple[str, int | None, str]]:
        """Return the columns with counts: label, number, and the address of these jobs."""
        counts, state = self.status.counts, "&state=" if "?" in self.url else "?state="
        stuck = self.status.stuck
        running = None if counts.reserved is None else max(counts.reserved - stuck, 0)
        columns = [
            (gettext("Waiting"), counts.waiting, State.WAITING.value),
            (gettext("Delayed"), counts.delayed, State.DELAYED.value),
            (gettext("Running"), running, "running"),
            (gettext("Stuck"), stuck, State.STUCK.value),
        ]
        return [
            (label, number, f"{self.url}{state}{word}" if self.url else "")
            for label, number, word in columns
        ]


class FailedGroup(NamedTuple):
    """A row of the table of failures."""

    group: failures.Group
    url: str
    error: str
    """The exception class without its module."""
    ago: str


class Overview(NamedTuple):
    """Everything on the page."""

    at: datetime
    problems: Sequence[Problem]
    queues: Sequence[Queue]
    workers: int
    pauses: Sequence[controls.Pause]
    every_paused: controls.Pause | None
    failed: int
    failed_more: int
    """Groups that are not shown."""
    capped: bool
    groups: Sequence[FailedGroup]
    failed_url: str
    parked: Sequence[Parked]
    parked_url: str

    @property
    def headline(self) -> str:
        """Return the answer that the page opens with."""
        count = len(self.problems)
        if not count:
            return gettext("All is well.")
        return ngettext("%(count)d problem", "%(count)d problems", count) % {"count": count}

    @property
    def summary(self) -> str:
        """Return the numbers behind the answer, in one sentence."""
        queues = ngettext("%(count)d queue", "%(count)d queues", len(self.queues))
        workers = ngettext("%(count)d worker", "%(count)d workers", self.workers)
        failed = ngettext(
            "%(count)d job failed in the last hour",
            "%(count)d jobs failed in the last hour",
            self.failed,
        )
        parts = [
            queues % {"count": len(self.queues)},
            workers % {"count": self.workers},
            failed % {"count": self.failed},
        ]
        return " · ".join(parts)


def counted(number: int) -> int | str:
    """Return a number as the page shows it, as in ``10,000+`` where no more are counted."""
    if number != AT_MOST + 1:
        return number
    return f"{number_format(AT_MOST, use_l10n=True, force_grouping=True)}+"


class _Failures(NamedTuple):
    groups: Sequence[failures.Group]
    number: int
    more: int
    capped: bool
    unread: Sequence[str] = ()
    """Why they could not be read."""


_NO_FAILURES = _Failures((), 0, 0, capped=False)


class _Facts(NamedTuple):
    """What every viewer may see."""

    at: datetime
    report: status.Report
    parked: Sequence[Parked]
    unread: Sequence[str]
    """Why something of it could not be read."""


_FACTS: Kept[_Facts] = Kept()
_FAILED: Kept[_Failures] = Kept()


def look(site: str, user: User) -> Overview:
    """Ask every store, if that was not done a moment ago for another viewer. Failed jobs are shown
    to those who may see their list. A pause shows at once.
    """
    unread: list[str] = []
    found: list[controls.Pause] = _read(controls.pauses, [], unread)
    now, report, late, more = _FACTS.get((settings(), found), KEEP_FOR, lambda: _facts(found))
    sees_failed = user.has_perm("djqueue.view_failedjob")  # type: ignore[union-attr]
    failed = _NO_FAILURES
    if sees_failed and settings().failed_jobs:
        failed = _FAILED.get(settings(), KEEP_FOR, _failures)
    unread = [*unread, *more, *failed.unread]
    pauses = [each._replace(reason=text.one_line(masked_text(each.reason))) for each in found]
    groups = [_group(each, site, now) for each in failed.groups]
    return Overview(
        at=now,
        problems=[
            *map(_silent, dict.fromkeys(unread)),
            *map(_unreachable, report.unreachable),
            *(_problem(each, site) for each in report.problems),
            *(_late(each, now) for each in late if each.late),
            *_failing(failed, groups, site),
        ],
        queues=[_queue(each, site) for each in report.queues],
        workers=len(report.workers),
        pauses=pauses,
        every_paused=next((p for p in pauses if p.connection == controls.EVERY_QUEUE), None),
        failed=failed.number,
        failed_more=failed.more,
        capped=failed.capped,
        groups=groups,
        failed_url=links.failed_jobs(site, failed="1h") if sees_failed else "",
        parked=late,
        parked_url=links.listed(site, "outbox", {}),
    )


def _facts(found: Sequence[controls.Pause]) -> _Facts:
    unread: list[str] = []
    report = status.report(within=WITHIN, at_most=AT_MOST + 1, pauses=found)
    late: list[Parked] = _read(partial(parked.parked, AT_MOST + 1), [], unread)
    return _Facts(timezone.now(), report, late, unread)


def _failures() -> _Failures:
    rows = table().filter(failed_at__gte=UtcNow() - HOUR)
    try:
        found = failures.groups(rows, GROUPS)
    except DatabaseError as error:
        return _NO_FAILURES._replace(unread=[str(error)])
    return _Failures(found.groups, found.number, found.more, found.capped)


def _read(what: Callable[[], _Part], otherwise: _Part, unread: list[str]) -> _Part:
    """Return a part of what SQL says; if its database does not answer, `otherwise`, with the reason
    in `unread`. The other databases are shown.
    """
    try:
        return what()
    except DatabaseError as error:
        unread.append(str(error))
        return otherwise


def _silent(why: str) -> Problem:
    words = gettext("A database could not be asked: %s") % text.one_line(masked_text(why))
    return Problem(words, gettext("What is there is not shown. The rest is up to date."))


def _unreachable(why: str) -> Problem:
    remedy = gettext("Its queues are not shown. The other connections are up to date.")
    return Problem(text.one_line(masked_text(why)), remedy)


def _problem(problem: problems.Problem, site: str) -> Problem:
    one = problem.status
    url = links.jobs(site, one.connection, one.queue, problem.state)
    return Problem(problem.text, problem.remedy, url, gettext("Show the jobs"))


def _late(one: Parked, now: datetime) -> Problem:
    template = ngettext(
        "%(count)s parked job of %(connection)s is not in its store yet, due %(ago)s.",
        "%(count)s parked jobs of %(connection)s are not in their store yet, the first due"
        " %(ago)s.",
        one.late,
    )
    ago = relative(one.late_since or now, now)
    values = {"count": counted(one.late), "connection": text.one_line(one.connection), "ago": ago}
    remedy = gettext("A worker of the connection moves them. Start one: %(command)s")
    command = shell.manage("queue_work", one.connection)
    return Problem(template % values, remedy % {"command": command})


def _failing(failed: _Failures, groups: Sequence[FailedGroup], site: str) -> list[Problem]:
    if not failed.number:
        return []
    template = ngettext(
        "%(count)d job failed in the last hour.",
        "%(count)d jobs failed in the last hour.",
        failed.number,
    )
    words = template % {"count": failed.number}
    if len(groups) > 1 or groups[0].group.number > 1:
        most = gettext("Most often %(job)s with %(error)s.")
        words += " " + most % {"job": text.one_line(groups[0].group.name), "error": groups[0].error}
    remedy = gettext("Correct the cause, then retry the group below.")
    url = links.failed_jobs(site, failed="1h")
    return [Problem(words, remedy, url, gettext("Show the failed jobs"))]


def _group(one: failures.Group, site: str, now: datetime) -> FailedGroup:
    url = links.failed_jobs(site, failed="1h", group=one.fingerprint or "none")
    error = text.one_line(one.exception_class.rpartition(".")[2])
    return FailedGroup(one, url, error, relative(one.last, now))


_KINDS: Mapping[str, str] = {"paused": "delayed", "active": "alive", "no worker": "stuck"}


def _queue(one: QueueStatus, site: str) -> Queue:
    words = {
        "active": gettext("Active"),
        "no worker": gettext("No worker"),
        "unknown": gettext("Unknown"),
    }
    idle = one.state == "no worker" and not (one.counts.waiting or one.counts.delayed)
    return Queue(
        one,
        links.jobs(site, one.connection, one.queue),
        "" if one.oldest is None else span(one.oldest),
        capfirst(text.one_line(problems.paused_for(one)))
        if one.paused
        else words.get(one.state, one.state),
        "waiting" if idle else _KINDS.get(one.state, "waiting"),
        one.pause is not None and one.pause.connection != controls.EVERY_QUEUE,
    )
