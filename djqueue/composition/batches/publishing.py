"""What is left to do when a change of a batch is stored: jobs are moved to other stores, or run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition import inline
from djqueue.composition.pushing import push
from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.commits import when_all_commit
from djqueue.dispatch.connections import driver_of, queues

if TYPE_CHECKING:
    from djqueue.composition.chains.steps import Push

Publish = Callable[[], None]


class Errors:
    """The first error of several things, all of which are done."""

    def __init__(self) -> None:
        self.first: BaseException | None = None

    def keep(self, do: Callable[[], object]) -> None:
        """Call `do`, and go on after its error: a job's may be `SystemExit` and its like."""
        try:
            do()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised when the rest is done
            self.first = self.first or error

    def raise_first(self) -> None:
        """Raise the first error, if there was one."""
        if self.first is not None:
            raise self.first


class Publishing:
    """Does what is left to do: at once, or after the commit of the transaction that is open. All of
    it is done, whatever goes wrong with a part.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._later: list[Publish] = []
        self._errors = Errors()
        self.raise_first = self._errors.raise_first
        """Raises the first error of what was done, if there was one."""

    def add(self, publish: Iterable[Publish]) -> None:
        """Add what is left to do after a change."""
        if self._alias not in open_aliases():
            self._publish(publish)
            return
        if not self._later:
            when_all_commit([self._alias], self._publish_later)
        self._later += publish

    @property
    def error(self) -> BaseException | None:
        """The first error of what was done."""
        return self._errors.first

    def _publish(self, publish: Iterable[Publish]) -> None:
        for each in publish:
            self._errors.keep(each)

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
    errors = Errors()
    for connection, job in jobs:
        errors.keep(partial(inline.begin, job, connection))
    errors.raise_first()
