"""What the retry of failed jobs with other arguments does beside the push: the arguments are packed
as those of a dispatch, and what belonged to the old ones goes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import packed, seconds_until_check, sizes_of
from djqueue.drivers import unique_keys
from djqueue.errors import NotSerializable, QueueUnavailable
from djqueue.operations import failed_jobs
from djqueue.operations.verbs.retried_job import RefusedError, outgoing
from djqueue.payload import store as payload_store
from djqueue.payload.links import links_of, may_be_linked
from djqueue.payload.packing import is_stored

if TYPE_CHECKING:
    from collections.abc import Collection

    from djqueue.drivers.base import OutgoingJob
    from djqueue.models import FailedJob

__all__ = ["EditedRows"]


class EditedRows:
    """Failed jobs that are retried with other arguments."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[FailedJob, str]] = {}
        """The rows, and the payloads that they had."""

    def outgoing(self, row: FailedJob, text: str) -> OutgoingJob:
        """Return the job to push for a row that gets the payload `text`. Raises `RefusedError`.

        Arguments that belong into the payload store are written there, in place of the old ones: so
        the row gets the new payload at once, and has it also if the push fails.
        """
        before, row.payload = row.payload, text
        job = outgoing(row)
        asked = queues[row.connection]
        sizes = sizes_of(asked.settings, asked.driver.capabilities, settings())
        if len(job.payload) > sizes.fits:
            try:
                small = packed(job.payload, row.name, row.connection, sizes)
            except NotSerializable as error:
                raise RefusedError(str(error)) from error
            job = job._replace(payload=small.text)
            if small.body is not None:
                self._write(row, small.text, small.body)
        self._before[row.pk] = (row, before)
        row.payload = job.payload
        return job

    def _write(self, row: FailedJob, text: str, body: bytes) -> None:
        """Write both, or none of them."""
        entry = payload_store.Entry(str(row.uuid), body, seconds_until_check(row.connection))
        with transaction.atomic(using=failed_jobs.store()):
            rows = failed_jobs.free().filter(failed_jobs.same([row]))
            if rows.update(payload=text):  # else it is gone, which the retry says
                payload_store.replace(row.connection, entry)

    def moved(self, keys: Collection[int]) -> None:
        """Free the unique keys and remove the stored arguments that those of the rows had which are
        in their queues now.
        """
        for row, before in (self._before[key] for key in keys if key in self._before):
            id = str(row.uuid)
            key = links_of(before).unique if may_be_linked(before) else ""
            if key and links_of(row.payload).unique != key:
                for alias in settings().databases:
                    unique_keys.free_all(alias, [id], [key])
            if is_stored(before) and not is_stored(row.payload):
                remove = partial(_remove, id)
                transaction.on_commit(remove, using=failed_jobs.store())


def _remove(id: str) -> None:
    """Remove stored arguments. Those that cannot be removed now are pruned when the job ended."""
    try:
        payload_store.remove([id])
    except QueueUnavailable:
        return
