"""Waiting for commits: a job becomes visible no earlier than what its dispatcher wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.databases.transactions import open_connections
from djqueue.errors import QueueError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from djqueue.drivers.base import Driver

__all__ = ["aliases_to_wait_for", "open_aliases_for", "when_all_commit"]


def aliases_to_wait_for(driver: Driver) -> list[str]:
    """Return the database aliases whose commits a push to `driver` has to wait for.

    These are all aliases in a transaction. The list is empty when there is only one and the store
    is part of it: the push then commits and rolls back with it. Transactions that `TestCase` wraps
    around a test do not count, since they never commit.

    Raises `QueueError` for a transaction that is managed by hand: Django does not announce its end.
    """
    found = open_connections()
    if not found or (len(found) == 1 and driver.shares_transaction_with(found[0].alias)):
        return []
    hint = (
        "Use transaction.atomic(), or dispatch with using(after_commit=False). Nothing was queued."
    )
    return _announced(found, driver, hint)


def _announced(found: Iterable[BaseDatabaseWrapper], driver: Driver, hint: str) -> list[str]:
    """Return the aliases of transactions, of whose ends Django will tell."""
    for connection in found:
        if not connection.in_atomic_block:
            raise QueueError(
                f'The transaction on database "{connection.alias}" is managed by hand (autocommit '
                f'is off), so nothing tells connection "{driver.settings.name}" when it commits. '
                f"{hint}"
            )
    return [connection.alias for connection in found]


def open_aliases_for(driver: Driver, hint: str) -> list[str]:
    """Return the database aliases in a transaction. Raises `QueueError` with `hint` for one that is
    managed by hand.
    """
    return _announced(open_connections(), driver, hint)


def when_all_commit(aliases: list[str], publish: Callable[[], object]) -> None:
    """Call `publish` after the last of `aliases` has committed; never if one rolls back.

    A rollback to a savepoint that is open now counts too. Django logs an error of `publish` and
    runs the other callbacks: the transaction is committed in any case.
    """
    remaining = set(aliases)

    def wait_for(alias: str) -> None:
        def committed() -> None:
            remaining.discard(alias)
            if not remaining:
                publish()

        transaction.on_commit(committed, using=alias, robust=True)

    for alias in aliases:
        wait_for(alias)
