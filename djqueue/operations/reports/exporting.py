"""Jobs as JSON objects with all that is known of them, for other programs. Secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from djqueue.operations import describe, failed_jobs, selection
from djqueue.operations.selection import EVERY_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from djqueue.drivers.base import State
    from djqueue.operations.failed_jobs import Selection

__all__ = ["failed", "jobs"]


def jobs(
    connection: str | None,
    queue: str | None = None,
    states: Iterable[State] = EVERY_STATE,
    name: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Return the stored jobs that match, as `describe.show` returns one, but for their results."""
    for keeper, job in selection.matching(connection, queue, states, name):
        yield describe.stored(keeper, job)


def failed(chosen: Selection) -> Iterator[dict[str, Any]]:
    """Return the failed jobs that match, oldest first, as `describe.show` returns one, but for
    their results.
    """
    for keys in failed_jobs.slices(chosen):
        for row in failed_jobs.table().filter(pk__in=keys).order_by("pk"):
            yield describe.failed(row)
