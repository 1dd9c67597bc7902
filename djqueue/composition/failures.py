"""What failures mean for those bound to the jobs, and what a retry undoes of that. The failures
of jobs that ran are followed in `djqueue.composition.follower`; here are those of jobs that never
reached their store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from djqueue.composition.batches import counting
from djqueue.composition.chains import steps
from djqueue.composition.ended import Ended, How, Turn
from djqueue.composition.following import follow
from djqueue.composition.pushing import push
from djqueue.drivers import unique_keys
from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.guard.ends import write_ends
from djqueue.payload.links import batches_of, chains_of, links_of, may_be_linked, needs_guard
from djqueue.results import rows as results

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.models import FailedJob

__all__ = ["fail_again", "give_up", "restore", "restore_results", "write_failures"]


def write_failures(
    alias: str, failed: Mapping[str, tuple[OutgoingJob, str]], driver_of: Callable[[str], Driver]
) -> None:
    """Write what follows from failures, by the ids of the jobs and with their errors, as a part of
    the open transaction of `alias` that removes the jobs.
    """
    if alias != steps.store():
        return  # what is bound to others is written nowhere else
    guarded = {id: job.payload for id, (job, _) in failed.items() if needs_guard(job.payload)}
    ended_before = guarded.keys() - write_ends(alias, guarded) if guarded else set()
    bound = [
        (Ended(links_of(job.payload), How.FAILED, id), error)
        for id, (job, error) in sorted(failed.items())
        if may_be_linked(job.payload) and id not in ended_before
    ]
    contents = {
        end.id: {"status": results.FAILED, "error": error}
        for end, error in bound
        if end.links.result
    }
    results.end(alias, contents)
    keyed = [end for end, _ in bound if end.links.keyed]
    if keyed:
        keys = [end.links.unique for end in keyed]
        unique_keys.free_all(alias, [end.id for end in keyed], keys)
    push(alias, follow(alias, [end for end, _ in bound]), driver_of)


def restore(alias: str, rows: Sequence[FailedJob]) -> None:
    """Undo what their failure has meant for results, chains and batches."""
    payloads = [row.payload for row in rows]
    restore_results(alias, rows)
    steps.restore(alias, chains_of(payloads))
    for batch, members in batches_of(payloads).items():
        counting.reopen(alias, batch, members)


def restore_results(alias: str, rows: Sequence[FailedJob]) -> None:
    """Let results wait for their ends again. Those that were pruned meanwhile are new."""
    kept = set(results.kept_among(row.payload for row in rows))
    results.restore(alias, sorted(kept))
    there = set(results.existing(alias, sorted(kept)))
    gone = [row for row in rows if str(row.uuid) in kept - there]
    results.write_kept(
        alias,
        (
            (row.connection, OutgoingJob(str(row.uuid), row.queue, row.name, row.payload))
            for row in gone
        ),
    )


def give_up(alias: str, payloads: Sequence[str]) -> None:
    """Failed jobs with these payloads were deleted: the chains end that only a retry of them could
    have taken up again. A part of the open transaction of `alias`.
    """
    steps.give_up(alias, chains_of(payloads))
    batches = set(batches_of(payloads))
    while batches:
        batches = _end_broken(alias, batches)


def _end_broken(alias: str, batches: Collection[str]) -> set[str]:
    """End the chains that broke at these batches, where no failed member is left to be retried.
    Return the batches that these chains are members of.
    """
    # One that finishes at this moment either waits, and finds what is left then, or has failed.
    steps_of_chains = counting.rows(alias).filter(turn__in=(Turn.RUNS, Turn.FAILED))
    locked = steps_of_chains.filter(pk__in=batches).order_by("pk").select_for_update()
    found = {
        id: (chain, outer)
        for id, chain, outer, turn in locked.values_list("pk", "chain", "outer", "turn")
        if turn == Turn.FAILED
    }
    if not found:
        return set()
    ended = found.keys() - counting.retryable(alias, found)
    counting.rows(alias).filter(pk__in=ended).update(turn=Turn.OVER)
    steps.give_up(alias, sorted(str(found[id][0]) for id in ended))
    return {outer for id in ended if (outer := found[id][1])}


def fail_again(alias: str, rows: Sequence[FailedJob]) -> None:
    """Their retry came to nothing: the jobs have failed as before."""
    kept = set(results.kept_among(row.payload for row in rows))
    contents = {}
    for row in rows:
        if str(row.uuid) in kept:
            error = f"{row.exception_class}: {row.exception_message}"
            contents[str(row.uuid)] = {"status": results.FAILED, "error": error}
    results.end(alias, contents)
