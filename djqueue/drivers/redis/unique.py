"""Unique jobs in Redis: one script looks who has the keys, and pushes what is free.

The key of a job is found beside the bodies of its queue, which one server has: so the jobs with one
key are those of one queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from djqueue.drivers.redis import scripts
from djqueue.drivers.redis.servers.calls import always
from djqueue.drivers.slices import slices
from djqueue.drivers.unique_keys import first_of_each, holders_of
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob
    from djqueue.drivers.redis.pushing import Push, Pusher
    from djqueue.drivers.redis.servers.calls import Calls

__all__ = ["push"]

AT_ONCE = 100
"""Jobs that one call pushes."""


def push(calls: Calls, pusher: Pusher, jobs: Sequence[OutgoingJob]) -> Mapping[str, str]:
    """Do as `Driver.push_unique`."""
    by_queue: dict[str, list[OutgoingJob]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, []).append(job)
    holders: dict[str, str] = {}
    stored: set[str] = set()

    def push_queue(queue: str) -> None:
        calls.names.add(queue)
        of_queue = by_queue[queue]
        first = first_of_each(of_queue)
        found: dict[str, str] = {}
        for some in slices(list(first.items()), AT_ONCE):
            answer = _call(calls, pusher.unique(calls.keys(queue), [job for _, job in some]), queue)
            for (key, job), holder in zip(some, answer, strict=True):
                if holder:
                    found[key] = holder.decode()
                else:
                    stored.add(job.id)
        holders.update(holders_of(of_queue, first, found))

    try:
        calls.each(by_queue, always(push_queue), all_answer=True)
    except QueueUnavailable as error:
        error.stored = frozenset(stored)
        error.ambiguous = True
        raise
    return holders


def _call(calls: Calls, push: Push, queue: str) -> Sequence[bytes]:
    """Run one call, and once more when its answer is lost: it knows whether it has run."""
    key = calls.keys(queue).body
    answer: Sequence[bytes]
    try:
        answer = calls.store.run(key, push.command(), scripts.PUSH_UNIQUE, again=False)
    except QueueUnavailable:
        push.in_doubt = True
        answer = calls.store.run(key, push.command(), scripts.PUSH_UNIQUE, again=False)
    return answer
