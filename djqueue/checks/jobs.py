"""Whether every job could be imported, and goes by a name of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core import checks

from djqueue.jobs import discovery, registry

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_jobs(**_: Any) -> list[checks.CheckMessage]:
    """Modules of jobs that failed to import, and names that two jobs share."""
    return [*_import_failures(), *_duplicates()]


def _import_failures() -> Iterator[checks.CheckMessage]:
    # A module that reads a table as it is imported fails until `migrate` has made that table: an
    # error would forbid the only thing that helps. Django tells a check nothing about its command.
    migrating = sys.argv[1:2] == ["migrate"]
    kind, code = (checks.Warning, "djqueue.W010") if migrating else (checks.Error, "djqueue.E010")
    for failure in discovery.errors():
        error = failure.error
        yield kind(
            f"{failure.module} cannot be imported, so its jobs are unknown: "
            f"{type(error).__name__}: {error}",
            hint=f"Correct {failure.place}. Workers do not start before.",
            id=code,
        )


def _duplicates() -> Iterator[checks.CheckMessage]:
    for name, origins in registry.duplicates():
        yield checks.Error(
            f'More than one job is called "{name}": {"; ".join(str(o) for o in origins)}.',
            hint='Give one of them a name of its own: name="…". If work is queued under the old '
            'name, add it to that job as aliases=["…"].',
            id="djqueue.E009",
        )
