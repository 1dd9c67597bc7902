"""Removing jobs that have not ended. A chain ends with a step of it that is removed: what waits
behind that step is deleted, and a batch counts the member as settled; in the same transaction where
the store is that of the waiting steps. The result of a job that is removed is cancelled.

The store says which of the jobs it removed. A step that a worker ended at the same moment is not
among them, so its chain goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.composition.batches import counting
from djqueue.composition.chains import steps
from djqueue.composition.ended import Ended, How
from djqueue.composition.following import follow
from djqueue.composition.pushing import push
from djqueue.conf import settings
from djqueue.databases.transactions import open_aliases
from djqueue.drivers import make_driver, parking, unique_keys
from djqueue.drivers.base import Change, State
from djqueue.drivers.guard.ends import (
    note_removals,
    numbers,
    write_ends,
    write_ends_unless_taken,
)
from djqueue.drivers.waiting import WithParked
from djqueue.errors import QueueError, Unsupported
from djqueue.jobs import registry
from djqueue.payload.links import LINKS_MARK, links_of, may_be_linked, needs_guard
from djqueue.payload.parts import id_in
from djqueue.payload.payload import decode
from djqueue.results import rows as results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from djqueue.drivers.base import Driver, Inspector, StoredJob
    from djqueue.models import Outbox
    from djqueue.payload.links import Links

__all__ = ["change", "clear", "delayed_steps", "inspector_of", "remove_member", "remove_stored"]
__all__ += ["remove_waiting", "write_lost", "write_removal", "write_removals"]

PAGE = 500


def change(driver: Driver, what: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
    """`Inspector.change`, for parked jobs too, and the end of the chains of what it removes."""
    parked = _change_parked(driver, what, seen) if _may_park(driver) else set()
    seen = {id: reservation for id, reservation in seen.items() if id not in parked}
    return parked | _change_stored(driver, what, queue, seen) if seen else parked


def _change_stored(driver: Driver, what: Change, queue: str, seen: Mapping[str, str]) -> set[str]:
    inspector = driver.inspector()
    if what not in (Change.DELETE, Change.DELETE_RUNNING):
        return inspector.change(what, queue, seen)
    if _has_guard_rows(driver):
        if what is Change.DELETE:
            return _end_and_delete(driver, inspector, queue, seen)
        with transaction.atomic(using=steps.store()):  # it is recorded there, like what follows
            linked = _linked(_found(inspector, seen))
            return _remove(driver, linked, lambda: inspector.change(what, queue, seen))
    linked = _linked(_found(inspector, seen))
    return _remove(driver, linked, lambda: inspector.change(what, queue, seen))


def _end_and_delete(
    driver: Driver, inspector: Inspector, queue: str, seen: Mapping[str, str]
) -> set[str]:
    """Delete jobs of a store whose workers ask guard rows. That bound ones have ended is written
    before: a worker that gets one of them all the same removes it without running it.
    """
    alias = steps.store()
    before = numbers(alias, [name[-36:] for name in seen])  # a key has the id at its end
    found = {job.key or job.id: job for job in _found(inspector, seen)}
    bound = {name: job for name, job in found.items() if needs_guard(job.payload)}
    # What the store calls free, and has the number that it had before, no worker holds.
    free = {job.id: job.payload for job in bound.values() if job.state is not State.RESERVED}
    ended: set[str] = set()
    if free:
        with transaction.atomic(using=alias):
            ended = write_ends_unless_taken(alias, free, before)
            write_removal(alias, [free[id] for id in sorted(ended)], partial(_driver, driver))
    over = {name for name, job in bound.items() if job.id in ended}
    meant = {name: each for name, each in seen.items() if name in over or name not in bound}
    removed = set(inspector.change(Change.DELETE, queue, meant))
    linked = _linked(job for name, job in found.items() if name in removed - bound.keys())
    if linked:
        write_removal(alias, list(linked.values()), partial(_driver, driver))
    return removed | over


def _has_guard_rows(driver: Driver) -> bool:
    """Return whether workers of a store ask guard rows beside what waits for the ends of jobs."""
    keeps_jobs = driver.capabilities.keeps_jobs and not driver.members
    return keeps_jobs and driver.session().guards(steps.store())


def _change_parked(driver: Driver, what: Change, ids: Iterable[str]) -> set[str]:
    changed: set[str] = set()
    for alias in settings().databases:
        rows = parking.parked(alias, driver.settings.name).filter(uuid__in=parking.uuids(list(ids)))
        for job in parking.described(rows):
            deleted = what is Change.DELETE and remove_waiting(driver, job)
            due = what is Change.RUN_NOW and parking.make_due(rows.filter(uuid=job.id))
            changed.update([job.id] if deleted or due else ())
    return changed


def _may_park(driver: Driver) -> bool:
    """Return whether jobs for a store may be parked in SQL."""
    return driver.parks or (driver.capabilities.keeps_jobs and registry.debounces())


def inspector_of(driver: Driver) -> Inspector:
    """Return the inspector of a store, which sees the jobs that are parked for it, too."""
    inspector = driver.inspector()
    if driver.parks or driver.members or not _may_park(driver):
        return inspector  # one that parks jobs itself sees them itself
    return WithParked(inspector, steps.store())


def remove_stored(driver: Driver, job: StoredJob) -> bool:
    """Remove a job of a store, even while it runs, or one that is parked for it. Return whether it
    was still there.
    """
    if _may_park(driver) and remove_waiting(driver, job):
        return True
    inspector = driver.inspector()

    def remove() -> list[str]:
        try:
            removed = inspector.remove(job.queue, [job.id], even_running=True) > 0
        except Unsupported:
            removed = inspector.cancel(job.id, unseen=True)
        return [job.key or job.id] if removed else []

    return bool(_remove(driver, _linked([job]), remove))


def clear(driver: Driver, queue: str) -> int:
    """Delete what waits in `queue` or is delayed. Return the number of jobs. Steps of chains
    and jobs whose results are kept are deleted first, one by one, as far as the store can list its
    jobs.
    """
    inspector, cleared = driver.inspector(), 0
    can, name = driver.capabilities, driver.settings.name
    lists = can.keeps_jobs and can.why_not("peek") is None
    if lists and (_may_be_bound() or results.are_waiting(name, queue)):
        for state in (State.WAITING, State.DELAYED):
            after = None
            while page := inspector.peek(queue, state, PAGE, after):
                linked = _linked(page)
                if linked:
                    _refuse_in_transaction(driver)
                cleared += len(change(driver, Change.DELETE, queue, dict.fromkeys(linked, "")))
                # The next page begins behind a job that is still there.
                after = next((j.id for j in reversed(page) if (j.key or j.id) not in linked), after)
                if len(page) < PAGE:
                    break
    alias = steps.store()
    alone = can.keeps_jobs and not driver.keeps_keys
    keys = unique_keys.unheld(alias, name, queue) if alone else {}
    if _may_park(driver):
        cleared += _clear_parked(driver, queue)
    else:
        cleared += sum(remove_waiting(driver, job) for job in delayed_steps(driver, queue))
    cleared += inspector.clear(queue)
    if keys:
        unique_keys.free_all(alias, keys.values(), keys)
    return cleared


def _refuse_in_transaction(driver: Driver) -> None:
    """Raise `QueueError` in a transaction whose rollback would undo a part of a removal."""
    together = driver.shares_transaction_with(steps.store())
    if not together and (aliases := open_aliases()):
        raise QueueError(
            f'Connection "{driver.settings.name}" has jobs from which something follows (in a '
            "chain, a batch, a kept result), and keeps them elsewhere than what follows, so that a "
            f'rollback on database "{aliases[0]}" would undo a part of their removal. Clear it '
            "outside of the transaction. Nothing was deleted."
        )


def _clear_parked(driver: Driver, queue: str) -> int:
    """Delete what is parked for a queue. Jobs whose results are kept are deleted one by one."""
    removed = sum(remove_waiting(driver, job) for job in _linked_and_parked(driver, queue))
    return removed + parking.clear(steps.store(), driver.settings.name, queue)


def delayed_steps(driver: Driver, queue: str) -> list[StoredJob]:
    """Return the steps of chains, and jobs that batches have called for, that wait in SQL until
    their delay ends, and that the inspector of their store does not show.
    """
    if _may_park(driver) or not driver.capabilities.keeps_jobs:
        return []
    return _linked_and_parked(driver, queue)


def _linked_and_parked(driver: Driver, queue: str) -> list[StoredJob]:
    rows = parking.parked(steps.store(), driver.settings.name, queue)
    return parking.described(rows.filter(payload__contains=LINKS_MARK))


def _may_be_bound() -> bool:
    alias = steps.store()
    return steps.are_waiting(alias) or counting.are_pending(alias)


def _found(inspector: Inspector, ids: Collection[str]) -> Iterable[StoredJob]:
    try:
        return inspector.find(list(ids)) if ids else ()
    except Unsupported:  # of some stores by their keys alone
        return ()


def _linked(jobs: Iterable[StoredJob]) -> dict[str, str]:
    """The payloads of those jobs that are bound to others, by key or id."""
    return {job.key or job.id: job.payload for job in jobs if may_be_linked(job.payload)}


def _remove(
    driver: Driver, linked: Mapping[str, str], remove: Callable[[], Collection[str]]
) -> set[str]:
    if not linked:
        return set(remove())
    alias = steps.store()
    together = driver.shares_transaction_with(alias)
    notes_ends = not together and not driver.session().guards(alias)
    if notes_ends:
        bound = {id_in(text): text for text in linked.values() if needs_guard(text)}
        note_removals(alias, driver.settings.name, bound)
    with transaction.atomic(using=alias) if together else nullcontext():
        removed = set(remove())
        with transaction.atomic(using=alias):
            gone = [text for id, text in linked.items() if id in removed]
            if gone and notes_ends:
                gone = _not_ended(alias, {id_in(text): text for text in gone})
            write_removal(alias, gone, partial(_driver, driver))
    return removed


def remove_waiting(driver: Driver, job: StoredJob) -> bool:
    """Remove a job from the outbox, from where it was to be moved to the store of `driver`. Return
    whether it was still there.
    """
    alias = steps.store()
    with transaction.atomic(using=alias):
        if not parking.remove([job.id], driver.settings.name):
            return False
        gone = list(_linked([job]).values())
        if needs_guard(job.payload):
            gone = _not_ended(alias, {job.id: job.payload})
        write_removal(alias, gone, partial(_driver, driver))
    return True


def write_removals(
    alias: str, rows: Sequence[Outbox], driver_of: Callable[[str], Driver], batch: str
) -> None:
    """Do as `write_removal` for members of a batch that were removed from the outbox."""
    # What waits for its turn was in no store. Of the others a store may have a copy.
    sent = {str(row.uuid): row.payload for row in rows if row.chain is None}
    waiting = [row.payload for row in rows if row.chain is not None]
    write_removal(alias, [*waiting, *_not_ended(alias, sent)], driver_of, batch)


def _not_ended(alias: str, payloads: Mapping[str, str]) -> list[str]:
    """Note that jobs have ended, in the open transaction of `alias`. Return the payloads of those
    of which that was not known. A worker that has one of them, or gets a copy, counts it no more.
    """
    first = write_ends(alias, payloads) if payloads else set()
    return [text for id, text in payloads.items() if id in first]


def remove_member(alias: str, id: str, driver_of: Callable[[str], Driver]) -> bool:
    """Remove a member that waits for the turn of its batch, or the first step of one that is a
    chain. Return whether there was one.
    """
    row = steps.find_member(alias, id)
    if row is None:
        return False
    batch = str(row.chain)
    with transaction.atomic(using=alias):
        counting.lock(alias, batch)  # before the member, as at the turn of the batch
        if not steps.take_member(alias, row):
            return False
        if steps.is_batch(row):
            steps.give_up_batches(alias, [id])
        write_removal(alias, [row.payload], driver_of, batch)
    return True


def write_removal(
    alias: str, gone: Sequence[str], driver_of: Callable[[str], Driver], batch: str = ""
) -> None:
    """Write what the removal of jobs with these payloads means for those bound to them, as a part
    of the open transaction of `alias`. `batch`: all were members of it, damaged payloads too.
    """
    bound = [(text, links_of(text)) for text in gone if batch or may_be_linked(text)]
    results.cancelled(sorted(filter(None, (id_in(text) for text, links in bound if links.result))))
    keyed = [(decode(text).id, links.unique) for text, links in bound if links.keyed]
    if keyed:
        unique_keys.free_all(alias, [id for id, _ in keyed], [key for _, key in keyed])
    ends = [Ended(links._replace(batch=links.batch or batch), How.GONE, "") for _, links in bound]
    if ends:
        push(alias, follow(alias, ends), driver_of)


def write_lost(alias: str, lost: Mapping[str, Links], driver_of: Callable[[str], Driver]) -> None:
    """Do as `write_removal` for jobs of which only the ids and the links are known."""
    results.cancelled(sorted(lost))
    ends = [Ended(links, How.GONE, "") for links in lost.values()]
    push(alias, follow(alias, ends), driver_of)


def _driver(here: Driver, connection: str) -> Driver:
    same = connection == here.settings.name
    return here if same else make_driver(settings().connection(connection))
