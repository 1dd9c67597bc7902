"""Large payloads at the dispatch: compressed, moved to the payload store, or refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from djqueue.conf import PayloadSettings, settings
from djqueue.dispatch.commits import aliases_to_wait_for
from djqueue.dispatch.connections import queues
from djqueue.dispatch.outgoing import Sizes
from djqueue.errors import NotSerializable, QueueError
from djqueue.payload import store as payload_store
from djqueue.payload.packing import Packed, pack, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.conf import ConnectionSettings, Settings
    from djqueue.dispatch.outgoing import Sendable
    from djqueue.drivers.base import Capabilities

__all__ = ["ANY", "packed", "seconds_until_check", "shrink", "shrunk", "sizes_of", "store_bodies"]

ANY = float("inf")


def sizes_of(connection: ConnectionSettings, capabilities: Capabilities, known: Settings) -> Sizes:
    """Return the sizes for a connection. Jobs that run here or are discarded may have any size."""
    if not capabilities.keeps_jobs:
        return Sizes(ANY, None, None, None)
    most = capabilities.max_payload
    wanted = [size for size in (most, connection.store_above) if size]
    store_above = min(wanted) if wanted and known.payloads is not None else None
    bounds = (connection.compress_above, store_above, most, _max_size(known))
    fits = min(bound for bound in bounds if bound)
    return Sizes(fits, connection.compress_above, store_above, most)


def shrink(job: Sendable, *, splits: bool = True) -> Sendable:
    """Return `job` with a payload that its store takes; what was split off, if `splits`, is in
    `body`, for `store_bodies`. Stores nothing. Raises `NotSerializable`, which names the largest
    argument.
    """
    plan, outgoing = job.plan, job.outgoing
    small = packed(
        outgoing.payload,
        outgoing.name,
        plan.connection,
        plan.sizes,
        is_encrypted=plan.encrypts,
        splits=splits,
    )
    return job._replace(outgoing=outgoing._replace(payload=small.text), body=small.body)


def packed(
    text: str,
    name: str,
    connection: str,
    sizes: Sizes,
    *,
    is_encrypted: bool = False,
    splits: bool = True,
) -> Packed:
    """Return a payload as the store of `connection` takes it. Raises as `shrink`."""
    arguments = len(split(text)[1])
    most = _max_size(settings())
    if arguments > most and not is_encrypted:  # else it was checked before
        raise NotSerializable(
            f"{name} has arguments of {arguments:,} bytes, and DJQUEUE["
            f'"PAYLOADS"]["MAX_SIZE"] is {most:,}. {_remedy(text)}'
        )
    small = pack(text, sizes.compress_above, sizes.store_above if splits else None)
    if sizes.most is not None and len(small.text) > sizes.most:
        raise NotSerializable(
            f"{name} would be stored in {len(small.text):,} bytes, and connection "
            f'"{connection}" takes at most {sizes.most:,}. {_remedy(text, splits=splits)}'
        )
    return small


def shrunk(job: Sendable, *, is_copied: bool = False) -> Sendable:
    """Return `job`, in the form that its store takes; what was split off is written at once. For a
    job that waits in SQL before its push. Of one that `is_copied` nothing is split off: the copies
    have other ids, and the payload store finds arguments by the id.
    """
    if len(job.outgoing.payload) <= job.plan.fits:
        return job
    small = shrink(job, splits=not is_copied)
    (stored,) = store_bodies(job.plan.connection, [small], waits=True)
    return stored


def store_bodies(connection: str, jobs: Sequence[Sendable], *, waits: bool) -> Sequence[Sendable]:
    """Write the bodies that were split off to the payload store; return the jobs without them.

    `waits`: the push happens after a commit. Bodies whose jobs are never pushed, as after a
    rollback, are pruned by their age.
    """
    entries = [
        payload_store.Entry(
            job.outgoing.id, job.body, job.outgoing.delay + seconds_until_check(connection)
        )
        for job in jobs
        if job.body is not None
    ]
    if not entries:
        return jobs
    if not waits:
        _refuse_invisible(connection, jobs)
    payload_store.write(connection, entries)
    return [job if job.body is None else job._replace(body=None) for job in jobs]


def seconds_until_check(connection: str) -> float:
    """Return the seconds before pruning may check whether the payload of a job that is due now is
    still needed. Longer where the store cannot look up a job by its id.
    """
    known = settings()
    least = known.prune_payloads or 0.0
    if connection in known.connections:
        can = queues[connection].driver.capabilities
        least = max(least, can.max_wait or 0.0) if can.why_not("find") else 0.0
    return max(least, payload_store.CHECK_AFTER)


def _refuse_invisible(connection: str, jobs: Sequence[Sendable]) -> None:
    """Raise `QueueError` where jobs would be visible before their arguments are committed."""
    known = settings()
    alias = known.payload_database
    driver = queues[connection].driver
    if known.payloads is None or known.payloads.storage is not None:
        return
    if not driver.shares_transaction_with(alias) and alias in aliases_to_wait_for(driver):
        name = next(job.outgoing.name for job in jobs if job.body is not None)
        raise QueueError(
            f"{name} has large arguments, which would be written in the open transaction on "
            f'database "{alias}", while after_commit=False would publish the job on connection '
            f'"{connection}" at once, before a worker can read them. Dispatch it after the commit, '
            'or keep large arguments in a storage (DJQUEUE["PAYLOADS"]["STORAGE"]). Nothing was '
            "queued."
        )


def _max_size(known: Settings) -> int:
    return (known.payloads or PayloadSettings()).max_size


def _remedy(text: str, *, splits: bool = True) -> str:
    """Return what to do about a payload that is too large, naming its largest argument."""
    arguments = json.loads(split(text)[1])
    known = arguments if isinstance(arguments, dict) else {}  # a token, of encrypted ones
    lengths = [(len(json.dumps(value)), name) for name, value in known.items()]
    named = ""
    if lengths:
        length, name = max(lengths)
        named = f'The largest, "{name}", has {length:,} bytes. '
    hint = (
        ""
        if settings().payloads is not None or not splits
        else ' Or let DJQUEUE["PAYLOADS"] name a payload store.'
    )
    return (
        f"{named}Pass a reference to the data (a model, a file's name) in place of the data.{hint} "
        "Nothing was queued."
    )
