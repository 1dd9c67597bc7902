"""Stopping jobs that run: their workers kill them, and they end as cancelled.

The worker that holds a job reads the request within a second, on every store. Its end deletes the
request together with all that follows from a cancelled job: so a request that is gone means that
the job was stopped, and one that is left behind a job that has ended means that it ended by itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import State
from djqueue.errors import JobNotFound, QueueError
from djqueue.operations import results, selection
from djqueue.operations.changes import details
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.text import short_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from djqueue.drivers.base import StoredJob

__all__ = ["BY_ANOTHER", "choose", "stop"]

LOOK_EVERY = 0.2
WAIT = 10.0
"""Seconds for which an operator waits for workers. A request stays in force for an hour."""

BY_ANOTHER = Reason(
    _("another operator had asked for that, and it has been stopped."),
    _("another operator had asked for that, and they have been stopped."),
)
NOT_ANSWERED = Reason(
    _("its worker has not stopped it yet; the request stays in force for an hour."),
    _("their workers have not stopped them yet; the requests stay in force for an hour."),
)


def choose(texts: Sequence[str], connection: str | None = None) -> selection.Selected:
    """Return the jobs that ids, or parts of ids, name. A store that cannot look up a job may have
    any that is named by its whole id.
    """
    targets, unknown = [], []
    silent = _silent(connection)
    for text in texts:
        try:
            targets.append(selection.locate(text, connection).target)
        except JobNotFound as error:
            part = short_ids.digits(text)
            if silent and len(part) == short_ids.LENGTH:
                targets.append(Target(silent[0], "", short_ids.as_begin(part)))
            else:
                unknown.append(error)
    return selection.Selected(list(dict.fromkeys(targets)), unknown)


def _silent(connection: str | None) -> list[str]:
    """Return the connections that keep jobs and cannot look them up by id."""
    names = list(queues) if connection is None else [connection]
    found = [queues[name].driver.capabilities for name in names]
    pairs = zip(names, found, strict=True)
    return [name for name, each in pairs if each.keeps_jobs and each.why_not("find")]


def stop(
    targets: Sequence[Target],
    *,
    by: str = "",
    wait: float = WAIT,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Result:
    """Stop jobs that run. Wait until their workers have done so, for at most `wait` seconds."""
    result = Result()
    asked: dict[str, Target] = {}
    others = set()
    """Those of them that another operator has asked for."""
    for target in targets:
        left = _not_running(target)
        if left is None:
            id = target.id[-36:]  # a key has the id at its end
            asked[id] = target
            if not controls.request_stop(id, by):
                others.add(id)
        else:
            result += Result((), [left])
    return result + _wait_for(asked, others, time.monotonic() + wait, on_progress)


def _wait_for(
    asked: dict[str, Target],
    others: Container[str],
    until: float,
    on_progress: Callable[[int], object],
) -> Result:
    """Wait until the requests are gone, or their jobs are. Those of `others` are not ours."""
    result, left = Result(), dict(asked)
    while left:
        waiting = controls.stops_left(left)
        stopped = {id: left.pop(id) for id in list(left) if id not in waiting}
        theirs = [Left(BY_ANOTHER, {}, stopped[id]) for id in stopped if id in others]
        result += Result([stopped[id] for id in stopped if id not in others], theirs)
        over = time.monotonic() > until
        for id, target in list(left.items()):
            kept = _not_running(target) or (Left(NOT_ANSWERED, {}, target) if over else None)
            if kept is not None and id in controls.stops_left([id]):
                del left[id]
                result += Result((), [kept])
                if kept.reason is not NOT_ANSWERED:
                    controls.forget_stops([id])
        on_progress(len(asked) - len(left))
        if left:
            time.sleep(LOOK_EVERY)
    return result


def _not_running(target: Target) -> Left | None:
    """Return why a job cannot be stopped now; None if it runs, or if its store cannot tell."""
    try:
        inspector = queues[target.connection].inspector
        if inspector.capabilities.why_not("find") and target.id[-36:] == target.id:
            return None
        found = inspector.find([target.id])
    except QueueError as error:
        return Left(Reason(str(error), str(error)), {}, target)
    if not found:
        return Left(results.FINISHED, {}, target)
    job: StoredJob = found[0]
    if job.state is State.RESERVED:
        return None
    return Left(results.NOT_RUNNING, details(job), target)
