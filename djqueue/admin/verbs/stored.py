"""From the stored jobs that a form selects to what `djqueue.operations` does to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from djqueue.admin import stores
from djqueue.admin.lists.selection import key_of, stored_key
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import Change
from djqueue.drivers.database.rows import jobs
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.operations import changes as operations
from djqueue.operations import results
from djqueue.operations.results import Left, Reason, Result, Target
from djqueue.operations.verbs import running, stopping
from djqueue.operations.verbs.moving import Destination
from djqueue.operations.verbs.moving import move as move_jobs
from djqueue.operations.verbs.running import Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.admin.lists.selection import Key, Selection
    from djqueue.drivers.base import StoredJob

__all__ = ["NO_CONNECTION", "STOP_WITHIN", "changer", "connection_of", "copied", "copy", "found"]
__all__ += ["move", "stop"]

STOP_WITHIN = 4.0
"""Seconds for which a page waits until workers have stopped jobs."""
NO_CONNECTION = Reason(
    _("no connection keeps its jobs in that database any more."),
    _("no connection keeps its jobs in that database any more."),
)
_THERE = Reason(_("its unique job %(job)s is there already."), _("their unique jobs are there."))


def changer(change: Change) -> Callable[[Selection], Result]:
    """Return a function that applies `change` to the jobs that a form selects."""
    return lambda selection: _act(selection, lambda some: operations.change(change, some))


def stop(selection: Selection) -> Result:
    """Let the workers that run the jobs stop them."""
    return _act(selection, lambda some: stopping.stop(some, by=selection.by, wait=STOP_WITHIN))


def move(selection: Selection) -> Result:
    """Move the jobs to the queue, the connection, the priority and the time that were asked for."""
    given = selection.values
    to = Destination(
        given.get("connection") or None,
        given.get("queue") or None,
        given.get("priority"),
        given.get("due"),
    )
    return _act(selection, lambda some: move_jobs(some, to))


def copy(selection: Selection) -> Result:
    """Dispatch a copy of each job."""
    return _act(selection, lambda some: copied(_with_payloads(some)))


def copied(jobs: Sequence[tuple[Target, Found]]) -> Result:
    """Dispatch a copy of each job, until a store does not answer."""
    result = Result()
    for at, (target, job) in enumerate(jobs):
        try:
            sent = running.copy(job)
        except QueueUnavailable as error:
            reason = Reason(str(error), str(error))
            left = [Left(reason, {}, each) for each, _job in jobs[at:]]
            return result + Result((), left, reason)
        except QueueError as error:
            result += Result((), [Left(Reason(str(error), str(error)), {}, target)])
            continue
        except Exception as error:  # noqa: BLE001 - methods of the project's job are called
            why = f"{type(error).__name__} was raised while it was dispatched."
            result += Result((), [Left(Reason(why, why), {}, target)])
            continue
        if sent.existing:
            result += Result((), [Left(_THERE, {"job": sent.existing}, target)])
        else:
            result += Result([target])
    return result


def _with_payloads(targets: Sequence[Target]) -> list[tuple[Target, Found]]:
    stored = [(target, job) for target in targets for job in _find(target)]
    return [
        (target, Found(job.id, job.name, target.connection, job.queue, job.payload, failed=False))
        for target, job in stored
    ]


def _find(target: Target) -> list[StoredJob]:
    return queues[target.connection].inspector.find([target.id])


def _act(selection: Selection, act: Callable[[Sequence[Target]], Result]) -> Result:
    """Let `act` change the selected jobs that still exist. The others are left, each with why."""
    try:
        targets = found(selection)
        gone = [Left(results.FINISHED) for key in selection.keys if key not in targets]
        if targets and selection.connection is None and not connection_of(selection.alias):
            return Result((), [*gone, *(Left(NO_CONNECTION) for _key in targets)])
        return Result((), gone) + act(list(targets.values()))
    except QueueError as error:
        reason = Reason(str(error), str(error))
        return Result((), [Left(reason)] * len(selection.keys), reason)


def found(selection: Selection) -> Mapping[Key, Target]:
    """Return the selected jobs that still exist."""
    if selection.connection is not None:
        return _in_store(selection, selection.connection)
    connection = connection_of(selection.alias)
    rows = jobs(selection.alias).filter(pk__in=selection.keys).order_by("pk")
    return {
        pk: Target(connection, queue, str(uuid), name, pk, selection.seen.get(pk))
        for pk, queue, uuid, name in rows.values_list("pk", "queue", "uuid", "name")
    }


def _in_store(selection: Selection, connection: str) -> dict[Key, Target]:
    names = [name for key in selection.keys if (name := stored_key(str(key))) is not None]
    targets: dict[Key, Target] = {}
    for job in queues[connection].inspector.find(names):
        name = job.key or job.id
        seen = selection.seen.get(key_of(name)) or None  # "" of a job that no worker held
        targets[key_of(name)] = Target(connection, job.queue, name, job.name, None, seen)
    return targets


def connection_of(alias: str) -> str:
    """Return a connection whose jobs are in that database; an empty text if there is none."""
    return next(iter(stores.with_jobs().get(alias, ())), "")
