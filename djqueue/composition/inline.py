"""Jobs that are bound to others, where a connection runs them in this process, as ``sync`` does."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition.follower import BoundJobs
from djqueue.composition.pushing import push
from djqueue.composition.running import Bound
from djqueue.composition.steps import store
from djqueue.dispatch.connections import driver_of, queues
from djqueue.dispatch.inline import run_attempt
from djqueue.finish.follower import Follower
from djqueue.results.running import Results
from djqueue.runner.decision import DONE, FAIL
from djqueue.runner.outcome import End

if TYPE_CHECKING:
    from djqueue.composition.steps import Push
    from djqueue.drivers.base import OutgoingJob

_FOLLOWERS: tuple[Follower, ...] = (Results(), BoundJobs(keeps_failures=False))


def run(connection: str, job: OutgoingJob) -> None:
    """Run a job, and all that follows from it on such connections, one after the other. Then the
    first error is raised: nothing is retried, and no failed row is kept.
    """
    waiting: deque[Push] = deque([(connection, job)])
    first: BaseException | None = None
    while waiting:
        name, each = waiting.popleft()
        if not queues[name].driver.capabilities.inline:
            with transaction.atomic(using=store()):
                push(store(), [(name, each)], driver_of)
            continue
        end, error = run_attempt(each, name, Bound())
        first = first or error
        outcome = end.outcome._replace(decision=DONE if error is None else FAIL)
        end = End(end.reservation, outcome)
        if followers := [each for each in _FOLLOWERS if each.wants(end)]:
            with transaction.atomic(using=store()):
                for follower in followers:
                    waiting.extend(follower.within([end], store()))
    if first is not None:
        raise first
