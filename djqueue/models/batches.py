"""The table of batches."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import gettext_lazy as _

from djqueue.indexes import IndexOfValues


class BatchVerbs(Protocol):
    """What can be done to a batch; see the methods of `JobBatch`."""

    def add(self, batch: JobBatch, jobs: Iterable[Any]) -> int:
        """Add members."""

    def cancel(self, batch: JobBatch) -> bool:
        """Cancel it."""

    def retry_failed(self, batch: JobBatch) -> int:
        """Retry members that have failed."""


class JobBatch(models.Model):
    """A group of jobs that are followed together."""

    id = models.CharField(primary_key=True, max_length=36)
    name = models.CharField(_("name"), max_length=255)
    total_jobs = models.PositiveIntegerField(_("jobs"), default=0)
    pending_jobs = models.PositiveIntegerField(_("pending"), default=0)
    failed_jobs = models.PositiveIntegerField(_("failed"), default=0)
    failed_job_ids = models.TextField(default="")
    stored_options = models.TextField(default="", db_column="options")
    """JSON: what the batch wants, and under ``custom`` what its dispatcher added."""
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True)
    created_at = models.DateTimeField(_("created at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    """When nothing was pending for the first time."""
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    """When a member failed for the first time."""
    progress_at = models.DateTimeField(null=True)
    """When ``on_progress`` was called for last."""
    open_until = models.DateTimeField(null=True)
    """Members are still added: it cannot finish. After this time its dispatcher is taken for gone.
    NULL: all are in."""
    upkeep_at = models.DateTimeField(null=True)
    """When a worker is to look after it, by the database's clock: members that wait are removed
    once it is cancelled, and go to their stores when its turn comes; its end is announced. NULL:
    nothing is to do."""
    announced = models.BooleanField(default=False)
    """The signal `batch_finished` was sent."""
    swept_to = models.BigIntegerField(default=0)
    """On MySQL and MariaDB, where no index finds the members in `jobs`: the number of the row up to
    which those that waited were removed; at first that of the newest row at the dispatch."""
    left_from = models.BigIntegerField(null=True)
    """There: the number of the first row that this sweep has left, as a worker held the member. The
    next sweep begins with it."""
    depth = models.PositiveSmallIntegerField(default=0)
    """How many batches it is inside of."""
    chain = models.CharField(max_length=36, null=True)
    """The chain that it is a step of."""
    outer = models.CharField(max_length=36, null=True)
    """The batch that this chain is a member of."""
    links = models.TextField(default="")
    """JSON: what it is bound to as a step, as in the payload of a job."""
    turn = models.CharField(max_length=6, default="")
    """Of a step: one of `djqueue.composition.ended.Turn`."""
    reason = models.CharField(max_length=255, default="")
    """Why it was cancelled."""

    verbs: ClassVar[BatchVerbs]
    """What its methods do; set when all of djqueue is loaded."""

    class Meta:
        db_table = "job_batches"
        verbose_name = _("job batch")
        verbose_name_plural = _("job batches")
        indexes = (
            models.Index(fields=["created_at"], name="djqueue_batches_created"),
            IndexOfValues(fields=["upkeep_at"], name="djqueue_batches_upkeep"),
            IndexOfValues(fields=["chain"], name="djqueue_batches_chain"),
            IndexOfValues(fields=["outer"], name="djqueue_batches_outer"),
        )
        permissions = (
            ("cancel_jobbatch", "Can cancel batches"),
            ("retry_jobbatch", "Can retry the failed jobs of batches"),
        )

    def __str__(self) -> str:
        return self.name or self.id

    @property
    def options(self) -> dict[str, Any]:
        """What ``batch(…, options=…)`` was given."""
        return self.wishes().get("custom") or {}

    @property
    def allows_failures(self) -> bool:
        """Whether the other members go on when one fails."""
        return bool(self.wishes().get("allow_failures"))

    @property
    def progress(self) -> int:
        """The settled members in percent, from 0 to 100."""
        if self.total_jobs == 0:
            return 100 if self.finished_at is not None else 0
        return 100 * (self.total_jobs - self.pending_jobs) // self.total_jobs

    @property
    def finished(self) -> bool:
        """Whether every member is settled; False again while one is retried."""
        return self.finished_at is not None and self.pending_jobs == 0

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled: members that wait end without being run."""
        return self.cancelled_at is not None

    @property
    def has_failures(self) -> bool:
        """Whether members have failed, and were not retried since."""
        return self.failed_jobs > 0

    def add(self, jobs: Iterable[Any]) -> int:
        """Add members: jobs, or chains. Return their number. From a member, what an earlier attempt
        of it has added is not added again. Raises `QueueError` if the batch is finished or
        cancelled.
        """
        return self.verbs.add(self, jobs)

    def cancel(self) -> bool:
        """Cancel it: members that wait are removed, by this call for a second and then by a worker,
        and it finishes when all are settled. Return whether it was neither cancelled nor finished.
        """
        return self.verbs.cancel(self)

    def retry_failed(self) -> int:
        """Retry the members that have failed. Return their number."""
        return self.verbs.retry_failed(self)

    async def aadd(self, jobs: Iterable[Any]) -> int:
        """`add` for coroutines."""
        return await sync_to_async(self.add)(jobs)

    async def acancel(self) -> bool:
        """`cancel` for coroutines."""
        return await sync_to_async(self.cancel)()

    async def aretry_failed(self) -> int:
        """`retry_failed` for coroutines."""
        return await sync_to_async(self.retry_failed)()

    def wishes(self) -> dict[str, Any]:
        """Return `stored_options`; empty where it is damaged."""
        try:
            found = json.loads(self.stored_options or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
