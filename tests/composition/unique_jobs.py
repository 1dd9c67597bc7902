"""Unique jobs, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from djqueue import CurrentJob, Job, current_job, job

ran: list[object] = []
seen: list[object] = []
"""What jobs found while they ran."""


@job(name="unique.sync", unique=True)
def sync(number: int, deep: bool = False) -> None:
    """Note that it ran."""
    ran.append(number)


@job(name="unique.fails", unique=True, tries=1)
def fails(number: int = 0) -> None:
    """Fail."""
    raise ValueError("broken")


@job(name="unique.twice", unique=True, tries=2)
def twice() -> None:
    """Fail the first time; then try to dispatch another one."""
    if current_job().attempt == 1:
        raise ValueError("broken")
    seen.append(twice.dispatch().created)


@job(name="unique.for_a_while", unique=True, unique_for=60)
def for_a_while() -> None:
    """Do nothing."""


@job(name="unique.until_start", unique=True, unique_until_start=True, tries=3)
def until_start(again: bool = True) -> None:
    """Dispatch another one."""
    if again:
        seen.append(until_start.dispatch(again=again).created)


@job(name="unique.until_start_async", unique=True, unique_until_start=True)
async def until_start_async() -> None:
    """Dispatch another one."""
    seen.append((await until_start_async.adispatch()).created)


class Import(Job, name="unique.Import", unique=True):
    """Unique by a part of its arguments."""

    shop: str
    page: int = 0

    def unique_id(self) -> str:
        """One a shop."""
        return self.shop

    def handle(self) -> None:
        """Note that it ran."""
        ran.append((self.shop, self.page))


def hold_back(job: CurrentJob, call: Callable[[CurrentJob], Any]) -> Any:
    """Release every job before it begins."""
    job.release()


@job(name="unique.for_a_moment", unique=True, unique_for=0.2)
def for_a_moment() -> None:
    """Do nothing."""


@job(name="unique.again", unique=True)
def again(times: int) -> None:
    """Dispatch itself with the same arguments while it runs."""
    if times > 1:
        dispatched = again.dispatch(times)
        seen.append((dispatched.created, dispatched.existing))


@job(name="unique.kept", unique=True, store_result=True)
def kept(number: int) -> int:
    """Return what it was given."""
    return number
