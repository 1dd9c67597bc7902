"""Jobs that are bound to others, where a connection runs them in this process, as ``sync`` does."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition.batches import counting
from djqueue.composition.batches.announcing import announce_all
from djqueue.composition.chains.steps import store
from djqueue.composition.ended import Turn
from djqueue.composition.follower import BoundJobs
from djqueue.composition.following import release
from djqueue.composition.pushing import push
from djqueue.composition.running import Bound
from djqueue.dispatch.connections import driver_of, queues
from djqueue.dispatch.inline import after_response, run_attempt
from djqueue.finish.follower import Follower
from djqueue.payload.links import links_of
from djqueue.results.running import Results
from djqueue.runner.decision import DONE, FAIL
from djqueue.runner.outcome import End

if TYPE_CHECKING:
    from djqueue.composition.chains.steps import Push
    from djqueue.drivers.base import OutgoingJob

SLICE = 500
"""Members of a batch that are taken together when it is their turn."""
_FOLLOWERS: tuple[Follower, ...] = (Results(), BoundJobs(keeps_failures=False))


def begin(job: OutgoingJob, connection: str) -> None:
    """Do as `run`; on a connection that runs its jobs after the response, do it then, and log the
    error.
    """
    if queues[connection].driver.capabilities.after_response:
        after_response.run(job, connection, run)
    else:
        run(job, connection)


def run(job: OutgoingJob, connection: str) -> None:
    """Run a job, and all that follows from it on such connections, one after the other. Then the
    first error is raised: nothing is retried, and no failed row is kept.
    """
    waiting: deque[Push] = deque([(connection, job)])
    batches: set[str] = set()
    first: BaseException | None = None
    while waiting or (waiting := _members_of(batches)):
        name, each = waiting.popleft()
        capabilities = queues[name].driver.capabilities
        if capabilities.after_response and name != connection:
            after_response.run(each, name, run)
            continue
        if not capabilities.inline:
            with transaction.atomic(using=store()):
                push(store(), [(name, each)], driver_of)
            continue
        end, error = run_attempt(each, name, Bound())
        first = first or error
        outcome = end.outcome._replace(decision=DONE if error is None else FAIL)
        end = End(end.reservation, outcome)
        batches.add(links_of(end.reservation.payload).batch)
        if followers := [each for each in _FOLLOWERS if each.wants(end)]:
            with transaction.atomic(using=store()):
                for follower in followers:
                    waiting.extend(follower.within([end], store()))
    if batches - {""}:
        announce_all(store())
    if first is not None:
        raise first


def _members_of(batches: set[str]) -> deque[Push]:
    """Return members that still wait in one of `batches` whose turn it is."""
    found: deque[Push] = deque()
    turn = counting.rows(store()).filter(pk__in=sorted(batches - {""}), turn=Turn.RUNS)
    for batch in turn.values_list("pk", flat=True) if batches - {""} else ():
        with transaction.atomic(using=store()):
            pushed, more = release(store(), batch, SLICE)
        found += pushed
        if not more:
            batches.discard(batch)
        if found:
            break
    return found
