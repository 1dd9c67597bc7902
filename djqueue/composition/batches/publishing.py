"""What is left to do when a change of a batch is stored: jobs are moved to other stores, or run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition import inline
from djqueue.composition.pushing import push
from djqueue.dispatch.commits import open_aliases, when_all_commit
from djqueue.dispatch.connections import driver_of, queues

if TYPE_CHECKING:
    from djqueue.composition.chains.steps import Push

Publish = Callable[[], None]


class Publishing:
    """Does what is left to do: at once, or after the commit of the transaction that is open. All of
    it is done, whatever goes wrong with a part.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._later: list[Publish] = []
        self.error: BaseException | None = None
        """The first error of what was done."""

    def add(self, publish: Iterable[Publish]) -> None:
        """Add what is left to do after a change."""
        if self._alias not in open_aliases():
            self._publish(publish)
            return
        if not self._later:
            when_all_commit([self._alias], self._publish_later)
        self._later += publish

    def raise_first(self) -> None:
        """Raise the first error of what was done, if there was one."""
        if self.error is not None:
            raise self.error

    def _publish(self, publish: Iterable[Publish]) -> None:
        for each in publish:
            try:
                each()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - that of a job that ran; the rest is done too
                self.error = self.error or error

    def _publish_later(self) -> None:
        self._publish(self._later)
        self.raise_first()


def settle(alias: str, change: Callable[[], list[Push]]) -> Publish:
    """Change a batch, and push what that calls for, in one transaction. Returns what is left to do:
    to run what is for this process.
    """
    with transaction.atomic(using=alias):
        called_for = change()
        here = [each for each in called_for if queues[each[0]].driver.capabilities.inline]
        push(alias, [each for each in called_for if each not in here], driver_of)
    return partial(run_all, here)


def run_all(jobs: Sequence[Push]) -> None:
    """Run all of `jobs` in this process; then the first error is raised."""
    first: BaseException | None = None
    for connection, job in jobs:
        try:
            inline.begin(job, connection)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the job's, SystemExit and its like included; the others still run
            first = first or error
    if first is not None:
        raise first
