"""What follows from the end of a job that is bound to others: the next step of its chain, and its
batch counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from djqueue.composition.chains.steps import Push
from djqueue.composition.ended import Ended, How
from djqueue.composition.following import follow
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.errors import ConfigurationError
from djqueue.payload.links import links_of, may_be_linked, needs_guard, with_links
from djqueue.runner.decision import Action
from djqueue.runner.outcome import End

MOST = 1 << 20
"""Bytes of a payload with the value of the step before; a store may take less."""


class BoundJobs:
    """The next step exists if and only if the one before succeeded, or was deleted or skipped; a
    batch counts each member once. Chains are locked first, in the order of their ids, then batches,
    the deepest first.
    """

    only_bound = True

    def __init__(self, *, keeps_failures: bool = True) -> None:
        """`keeps_failures`: a failed step can be retried, where failed jobs are kept at all."""
        self._keeps_failures = keeps_failures

    def wants(self, end: End) -> bool:
        """Whether it may be the end of a step or of a member."""
        if not may_be_linked(end.reservation.payload):
            return False
        return needs_guard(end.reservation.payload) and not end.outcome.repeats

    def within(self, ends: Sequence[End], alias: str) -> list[Push]:
        """Take the next step of each chain, or break it off; then count members of batches."""
        pushed = follow(alias, list(map(_ended, ends)), keeps_failures=self._keeps_failures)
        return list(map(_fitted, pushed))


class StopRequests:
    """The request to stop a job goes with the job, which tells the operator that it was stopped."""

    only_bound = True

    def wants(self, end: End) -> bool:
        """Whether the job was stopped."""
        return end.outcome.decision.action is Action.CANCEL

    def within(self, ends: Sequence[End], alias: str) -> list[Push]:
        """Delete the rows of the requests."""
        controls.forget_stops([end.id for end in ends])
        return []


def _ended(end: End) -> Ended:
    how, passed_on = How.DONE, end.outcome.passed_on
    if end.outcome.decision.action is Action.FAIL:
        how = How.FAILED
    elif end.outcome.decision.action is Action.CANCEL or passed_on.get("cancelled"):
        how = How.GONE
    return Ended(links_of(end.reservation.payload), how, end.id, previous_of(end), passed_on)


def _fitted(push: Push) -> Push:
    """Leave out the value of the step before where it is too large for the store of the next."""
    connection, job = push
    most = MOST
    with suppress(ConfigurationError):  # another worker knows the connection, and moves it there
        most = min(queues[connection].driver.capabilities.max_payload or MOST, MOST)
    if len(job.payload) <= most:
        return push
    links = links_of(job.payload)
    if links.previous is None or "value" not in links.previous:
        return push
    size = len(job.payload)
    refused = {
        "name": links.previous["name"],
        "refused": f"with it, {job.name} has {size:,} bytes, and {most:,} may be passed"
        " on. Keep the value elsewhere, and return where it is.",
    }
    payload = with_links(job.payload, links._replace(previous=refused))
    return connection, job._replace(payload=payload)


def previous_of(end: End) -> dict[str, object] | None:
    """What a step leaves to the next one: its name, and its value as it is stored."""
    passed_on = end.outcome.passed_on
    kept = {name: passed_on[name] for name in ("value", "refused") if name in passed_on}
    return {"name": end.reservation.name, **kept} if kept else None
