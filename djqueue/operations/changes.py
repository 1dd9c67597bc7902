"""What operators do to stored jobs: delete, release, run now. Each is conditional in the store: a
job that a worker took or ended meanwhile is left alone, and the result says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from django.utils import timezone

from djqueue.composition import removing
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import Change, State
from djqueue.drivers.slices import slices
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.operations import results
from djqueue.operations.failed_jobs import SLICE
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.operations.words import STATES, relative
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.drivers.base import StoredJob

__all__ = ["Progress", "by_slices", "change", "delete", "details"]

Progress = Callable[[int], object]
"""Called after each slice with how many jobs have been looked at."""


def delete(
    targets: Sequence[Target],
    *,
    even_running: bool = False,
    on_progress: Progress = lambda done: None,
) -> Result:
    """Delete waiting, delayed and stuck jobs. With `even_running` delete running ones too: their
    attempts go on, and the outcomes are ignored.
    """
    result = change(Change.DELETE, targets, on_progress)
    run = [left.target for left in result.left if left.reason is results.RUNNING and left.target]
    if not even_running or not run:
        return result
    others = [left for left in result.left if left.reason is not results.RUNNING]
    return Result(result.changed, others, result.stopped) + change(Change.DELETE_RUNNING, run)


def change(
    what: Change, targets: Sequence[Target], on_progress: Progress = lambda done: None
) -> Result:
    """Apply `what` to the jobs. `DELETE_RUNNING` and `RELEASE` are for one attempt only, the one
    that `Target.seen` names. A store that does not answer is asked for no further jobs.
    """
    return by_slices(targets, SLICE, partial(_change, what), on_progress)


def by_slices(
    targets: Sequence[Target],
    size: int,
    act: Callable[[str, str, Sequence[Target]], Result],
    on_progress: Progress,
) -> Result:
    """Call `act` with the jobs of one connection and queue, at most `size` together, until a store
    does not answer. Return what came of all of them.
    """
    result = Result()
    seen = 0
    for connection, queue, some in _slices_of(targets, size):
        if result.stopped is None:
            result += act(connection, queue, some)
        else:
            result += Result((), [Left(result.stopped, {}, each) for each in some], result.stopped)
        seen += len(some)
        on_progress(seen)
    return result


def _slices_of(targets: Sequence[Target], size: int) -> list[tuple[str, str, list[Target]]]:
    """Return the jobs by connection and queue, at most `size` together."""
    by_queue: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        by_queue.setdefault((target.connection, target.queue), []).append(target)
    return [
        (connection, queue, some)
        for (connection, queue), every in by_queue.items()
        for some in slices(every, size)
    ]


def _change(what: Change, connection: str, queue: str, targets: Sequence[Target]) -> Result:
    """Change jobs of one queue, then look at those that were left."""
    compares = what in (Change.DELETE_RUNNING, Change.RELEASE)
    unseen = [each for each in targets if compares and each.seen is None]
    meant = {each.id: each for each in targets if not compares or each.seen is not None}
    try:
        seen = {each.id: each.seen or "" if compares else "" for each in meant.values()}
        ids = removing.change(queues[connection].driver, what, queue, seen) if seen else set()
    except QueueError as error:
        return _stopped(error, (), targets)
    changed = [target for id, target in meant.items() if id in ids]
    missed = [id for id in meant if id not in ids]
    try:
        found = queues[connection].inspector.find(missed) if missed else ()
        after = {job.key or job.id: job for job in found}
    except QueueError as error:  # after some were changed
        return _stopped(error, changed, [*unseen, *(meant[id] for id in missed)])
    return Result(
        changed,
        [Left(results.NOT_SEEN, {}, each) for each in unseen]
        + [_left(what, meant[id], after.get(id)) for id in missed],
    )


def _stopped(error: QueueError, changed: Sequence[Target], left: Sequence[Target]) -> Result:
    """Return that a store did not answer for those that are `left`."""
    why = Reason(str(error), str(error))
    ends = why if isinstance(error, QueueUnavailable) else None
    return Result(changed, [Left(why, {}, each) for each in left], ends)


def _left(what: Change, target: Target, job: StoredJob | None) -> Left:
    """Return why a job was left, as its store describes it now."""
    if job is None:
        return Left(results.FINISHED, {}, target)
    return Left(_reason(what, target, job), details(job), target)


def _reason(what: Change, target: Target, job: StoredJob) -> Reason:
    again = bool(target.seen) and target.seen != job.reservation
    runs = job.state is State.RESERVED
    if what is Change.DELETE:
        return results.RUNNING if runs else results.CHANGED
    if what is Change.RUN_NOW:
        return results.CHANGED if job.state is State.DELAYED else results.NOT_DELAYED
    if what is Change.DELETE_RUNNING:
        if not runs and job.state is not State.STUCK:
            return results.NOT_RUNNING
        return results.TAKEN_AGAIN if again else results.CHANGED
    if job.state is State.STUCK:
        return results.TAKEN_AGAIN if again else results.CHANGED
    if not runs or not target.seen:
        return results.NOT_STUCK
    return results.TAKEN_AGAIN if again else results.ALIVE_AGAIN


def details(job: StoredJob) -> Mapping[str, str]:
    """Return the values for the words of a `Reason`."""
    now = job.read_at or timezone.now()
    return {
        "worker": one_line(job.worker or "?"),
        "ago": relative(job.reserved_at or now, now),
        "state": str(STATES[job.state]),
    }
