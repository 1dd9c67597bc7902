"""Checks of jobs: modules can be imported, names are unique, annotations can be resolved."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core import checks

from djqueue.jobs import discovery, registry
from djqueue.payload.keyring import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_jobs(**_: Any) -> list[checks.CheckMessage]:
    """Report modules of jobs that failed to import, names that several jobs have, annotations that
    name nothing, and encrypted jobs without what encrypts them.
    """
    return [*_import_failures(), *_duplicates(), *_annotations(), *_encrypted()]


def _import_failures() -> Iterator[checks.CheckMessage]:
    # A module that reads a table when it is imported fails until `migrate` has created the table,
    # so an error would prevent the remedy. Django does not tell checks which command runs.
    migrating = sys.argv[1:2] == ["migrate"]
    kind, code = (checks.Warning, "djqueue.W010") if migrating else (checks.Error, "djqueue.E010")
    for failure in discovery.errors():
        error = failure.error
        yield kind(
            f"{failure.module} cannot be imported, so its jobs are unknown: "
            f"{type(error).__name__}: {error}",
            hint=f"Correct {failure.place}. Workers do not start until then.",
            id=code,
        )


def _duplicates() -> Iterator[checks.CheckMessage]:
    for name, origins in registry.duplicates():
        yield checks.Error(
            f'More than one job is called "{name}": {"; ".join(str(o) for o in origins)}.',
            hint='Give one of them another name: name="…". If jobs are queued under the old name, '
            'add it to that job as aliases=["…"].',
            id="djqueue.E009",
        )


def _annotations() -> Iterator[checks.CheckMessage]:
    for spec in registry.all():
        if error := spec.warm_up():
            what, _, remedy = str(error).partition(". ")
            yield checks.Warning(f"{what}.", hint=remedy, id="djqueue.W022")


def _encrypted() -> Iterator[checks.CheckMessage]:
    names = sorted(spec.name for spec in registry.all() if spec.options.encrypted)
    if names and find_spec("cryptography") is None:
        others = f" and {len(names) - 1} others" if len(names) > 1 else ""
        yield checks.Error(
            f"{names[0]}{others} have encrypted=True, and the package cryptography is not "
            "installed.",
            hint=MISSING,
            id="djqueue.E006",
        )
