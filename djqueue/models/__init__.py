"""The tables. Models hold no behaviour but what `JobBatch` gives to users, and a failed job to
who looks at it in a shell: the hot path is hand-written SQL in `djqueue.drivers`. Batches,
controls, finished jobs, incidents, keys, minutes of statistics and results have modules of their
own.

Everything that runs before the app registry is ready reaches these classes inside a function.
"""

from __future__ import annotations

import json

from django.db import models
from django.utils.translation import gettext_lazy as _

from djqueue.indexes import IndexOfValues, PartialIndex
from djqueue.models.batches import JobBatch
from djqueue.models.controls import Control, Overview
from djqueue.models.finished import FinishedJob
from djqueue.models.incidents import Incident
from djqueue.models.keys import Debounced, Key
from djqueue.models.minutes import Minute
from djqueue.models.results import JobResult
from djqueue.payload.encryption import decrypt
from djqueue.text.tracebacks import token_of

__all__ = [
    "Control",
    "Debounced",
    "FailedJob",
    "FinishedJob",
    "Incident",
    "JobBatch",
    "JobResult",
    "Key",
    "Minute",
    "Outbox",
    "Overview",
    "Payload",
    "QueuedJob",
    "Run",
    "Slot",
    "Worker",
]


class QueuedJob(models.Model):
    """A job that waits, is delayed, or is held by a worker."""

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(_("queue"), max_length=80)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    reserved_at = models.DateTimeField(_("reserved at"), null=True)
    available_at = models.DateTimeField(_("available at"))
    created_at = models.DateTimeField(_("created at"))

    uuid = models.UUIDField(_("id"), unique=True)
    name = models.CharField(_("job"), max_length=255)
    priority = models.SmallIntegerField(_("priority"), default=0)
    line = models.SmallIntegerField(null=True)
    """Minus the priority while the row may be reserved, else NULL. With the index below, neither
    delayed nor reserved rows stand in the way of a reserve."""
    reserved_until = models.DateTimeField(_("reserved until"), null=True)
    reserved_by = models.BigIntegerField(_("reserved by"), null=True)
    """Primary key of the `Worker` that holds it."""
    reservation = models.BigIntegerField(default=0)
    """The fencing number: one more at each reserve and at each take-over, never less."""
    interruptions = models.PositiveIntegerField(_("interruptions"), default=0)
    batch_id = models.CharField(max_length=36, null=True)
    """The batch that the job is a member of, unless it is retried: cancelling the batch removes the
    row while it waits."""
    push_id = models.CharField(max_length=36, db_default="")
    """The push that wrote the row, where it was not the job's first; see `OutgoingJob.push_id`."""
    # What may be long comes last: SQLite reads through all that stands before a column.
    history = models.TextField(default="")
    """What earlier attempts left, for the failed row: JSON, empty at first."""
    payload = models.TextField(_("payload"))

    class Meta:
        db_table = "jobs"
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        indexes = (
            models.Index(fields=["queue", "line", "available_at", "id"], name="djqueue_jobs_line"),
            IndexOfValues(fields=["reserved_by"], name="djqueue_jobs_held"),
            PartialIndex(fields=["batch_id", "id"], name="djqueue_jobs_batch"),
        )
        permissions = (
            ("release_job", "Can release stuck jobs and run delayed ones now"),
            ("force_delete_job", "Can delete jobs that are running"),
            ("stop_job", "Can stop jobs that are running"),
            ("view_payload", "Can see arguments and payloads"),
            ("edit_payload", "Can retry failed jobs with other arguments"),
            ("bulk_operations", "Can act on more than 1,000 jobs at once"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.uuid}"


class FailedJob(models.Model):
    """A job that was given up, with all that is known about why."""

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(_("id"), unique=True)
    connection = models.CharField(_("connection"), max_length=255)
    queue = models.CharField(_("queue"), max_length=80)
    failed_at = models.DateTimeField(_("failed at"))

    name = models.CharField(_("job"), max_length=255, default="")
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    exception_class = models.CharField(_("exception class"), max_length=255, default="")
    exception_message = models.CharField(_("message"), max_length=1000, default="")
    fingerprint = models.CharField(max_length=40, default="")
    """Equal for failures of one job with one exception class at one place of the code."""
    reservation = models.BigIntegerField(default=0)
    """The fencing number of the reservation that wrote the row: it replaces a row with a lower
    number, and only the same reservation takes it back."""
    taken_until = models.DateTimeField(null=True)
    """While this is in the future, the process named by `taken_by` moves the job back to its
    queue."""
    taken_by = models.CharField(max_length=36, default="")
    push_id = models.CharField(max_length=36, default="")
    """What the push is named after that moves it back: the same however often that is tried."""
    batch_id = models.CharField(max_length=36, null=True)
    host = models.CharField(_("host"), max_length=255, default="")
    """Where the last attempt ended, as far as that is known."""
    duration = models.FloatField(_("duration"), null=True)
    """Seconds of the last attempt, as far as they are known."""
    # As in `QueuedJob`.
    history = models.TextField(default="")
    """JSON: one entry an attempt that ended badly."""
    payload = models.TextField(_("payload"))
    exception = models.TextField(_("exception"))

    class Meta:
        db_table = "failed_jobs"
        verbose_name = _("failed job")
        verbose_name_plural = _("failed jobs")
        indexes = (
            models.Index(fields=["failed_at"], name="djqueue_failed_at"),
            models.Index(fields=["connection", "queue", "failed_at"], name="djqueue_failed_queue"),
            models.Index(fields=["fingerprint"], name="djqueue_failed_print"),
            models.Index(fields=["name", "id"], name="djqueue_failed_name"),
            models.Index(fields=["exception_class", "id"], name="djqueue_failed_class"),
            IndexOfValues(fields=["batch_id"], name="djqueue_failed_batch"),
        )
        permissions = (
            ("retry_failedjob", "Can retry failed jobs"),
            ("view_exception", "Can see messages and tracebacks of exceptions"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.uuid}"

    def decrypted_exception(self) -> str:
        """Return the traceback with the texts that an encrypted job raised, for a shell. Raises
        `djqueue.errors.Undecryptable`.
        """
        token = token_of(self.exception)
        if not token:
            return self.exception
        words = decrypt(token, kind="error", job=self.name, id=str(self.uuid))
        return str(json.loads(words)[1])


class Worker(models.Model):
    """A running worker. On database connections this row is the lease of all that it holds."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    hostname = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process"))
    connection = models.CharField(_("connection"), max_length=255)
    queues = models.TextField(_("queues"))
    """Comma-separated, in the order they are asked."""
    started_at = models.DateTimeField(_("started at"))
    alive_until = models.DateTimeField(_("alive until"))
    """The end of its lease, by the database's clock."""
    idle = models.BooleanField(_("idle"), default=False)
    """Asleep: a dispatch to one of its queues wakes it."""
    version = models.CharField(_("version"), max_length=50, default="")
    """Of djqueue."""
    memory = models.BigIntegerField(_("memory"), null=True)
    """Bytes that its processes occupy."""
    running = models.TextField(default="")
    """What it runs: JSON, a list of id, name, and since when, in seconds of the epoch."""

    class Meta:
        db_table = "djqueue_workers"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        indexes = (models.Index(fields=["alive_until"], name="djqueue_workers_alive"),)
        permissions = (("restart_worker", "Can restart workers"),)

    def __str__(self) -> str:
        return self.name


class Run(models.Model):
    """A guard row: what is known in SQL about a job whose store is another one.

    It makes an `atomic` job's end part of the job's own transaction, and keeps the numbers that
    such a store cannot keep.
    """

    uuid = models.UUIDField(primary_key=True)
    ended = models.BooleanField(default=False)
    reservation = models.BigIntegerField(default=0)
    """The fencing number: it only grows."""
    held_as = models.CharField(default="", max_length=100)
    """The store's own id of the job while a worker holds it, and after its end; else empty."""
    attempts = models.PositiveIntegerField(default=0)
    interruptions = models.PositiveIntegerField(default=0)
    history = models.TextField(default="")
    updated_at = models.DateTimeField()
    push_id = models.CharField(max_length=36, db_default="")
    """The push that the numbers are about; see `OutgoingJob.push_id`."""
    cancelled = models.BooleanField(db_default=False)
    """The job was cancelled: it is not begun, and the outcome of a running one is ignored."""
    keep_until = models.DateTimeField(null=True)
    """Not pruned before, although the row is old: the job is due later than that."""
    batch_id = models.CharField(max_length=36, null=True)
    """Of a delayed member in another store: the batch whose cancelling removes it there."""

    class Meta:
        db_table = "djqueue_runs"
        default_permissions = ()
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes = (
            models.Index(fields=["updated_at"], name="djqueue_runs_updated"),
            IndexOfValues(fields=["batch_id"], name="djqueue_runs_batch"),
        )

    def __str__(self) -> str:
        return str(self.uuid)


class Outbox(models.Model):
    """A job that is not in its store yet: due later than that store can delay it, waiting for the
    commit of the transaction that dispatched it, or for its turn in a chain or a batch.
    """

    id = models.BigAutoField(primary_key=True)
    connection = models.CharField(_("connection"), max_length=255)
    queue = models.CharField(_("queue"), max_length=80)
    uuid = models.UUIDField()
    name = models.CharField(_("job"), max_length=255)
    payload = models.TextField(_("payload"))
    priority = models.SmallIntegerField(default=0)
    message_group = models.CharField(max_length=128, null=True)
    deduplication_id = models.CharField(max_length=128, null=True)
    due_at = models.DateTimeField(_("due at"), null=True)
    """When any worker may move it to its store, by the database's clock. NULL: it waits for its
    turn in a chain or a batch."""
    created_at = models.DateTimeField(_("created at"))
    parked = models.BooleanField(default=False)
    """It waits for its time, because its store cannot; False: it was written by the transaction
    that dispatched it, and is on its way."""
    push_id = models.CharField(max_length=36, default="")
    """As in `OutgoingJob.push_id`."""
    reservation = models.BigIntegerField(default=0)
    """The fencing number of the reservation that released the job into this row, or 0."""
    taken_until = models.DateTimeField(null=True)
    """While this is in the future, only the process named by `taken_by` pushes the job."""
    taken_by = models.CharField(max_length=36, default="")
    """Who took the row last; at first, who wrote it."""
    chain = models.CharField(max_length=36, null=True)
    """The chain that it is a waiting step of, or the batch whose member or callback it is; NULL for
    all other jobs."""
    position = models.IntegerField(default=0)
    """The waiting step with the lowest is the next. `ON_FAILURE`: it runs if the chain breaks."""
    broken = models.BooleanField(default=False)
    """A step before it has failed: it waits until that step is retried."""
    batch_id = models.CharField(max_length=36, null=True)
    """As in `QueuedJob.batch_id`."""
    delay = models.FloatField(default=0)
    """Of a member that waits for the turn of its batch: seconds from then on."""
    debounced = models.BooleanField(db_default=False)
    """The next dispatch with its key replaces it: no worker has taken it yet."""

    class Meta:
        db_table = "djqueue_outbox"
        default_permissions = ()
        verbose_name = _("parked job")
        verbose_name_plural = _("parked jobs")
        indexes = (
            models.Index(fields=["connection", "due_at", "id"], name="djqueue_outbox_due"),
            IndexOfValues(fields=["chain", "position"], name="djqueue_outbox_chain"),
            IndexOfValues(fields=["batch_id"], name="djqueue_outbox_batch"),
        )
        constraints = (
            # The same push of a job, repeated, is one row.
            models.UniqueConstraint(
                fields=["uuid", "push_id", "parked", "reservation"], name="djqueue_outbox_push"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.uuid}"


class Slot(models.Model):
    """A place under a limit: one use of a throttle, or one holder of a funnel.

    A slot is taken by one conditional UPDATE, so that there are never more uses than slots.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    """``throttle:`` or ``funnel:``, and the limit's key."""
    place = models.SmallIntegerField()
    """From 0 up. -1 is no place: its `taken_at` is the time until which refused jobs are given
    times to come back."""
    taken_at = models.DateTimeField()
    """The last use, by the database's clock."""
    uses = models.PositiveIntegerField(default=1)
    """How often it was used since it was last free, where a slot stands for several uses."""
    free_at = models.DateTimeField(null=True)
    """When it is free again. Of a funnel: when it was given back; while it is held, when it comes
    back by itself."""
    job = models.UUIDField(null=True)
    """Of a funnel: the job that holds it, if a job does."""
    run = models.PositiveIntegerField(default=0)
    """Of a funnel: the attempt of the job, plus its interruptions. Each run has a larger one."""
    holder = models.CharField(max_length=32, default="")
    """Of a funnel: names one holding of the slot; empty while it is free."""

    class Meta:
        db_table = "djqueue_slots"
        verbose_name = _("slot of a limit")
        verbose_name_plural = _("slots of limits")
        default_permissions = ()
        indexes = (
            models.Index(fields=["name", "taken_at"], name="djqueue_slots_taken"),
            IndexOfValues(fields=["job"], name="djqueue_slots_job"),
        )
        constraints = (
            models.UniqueConstraint(fields=["name", "place"], name="djqueue_slots_place"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.place}"


class Payload(models.Model):
    """Arguments too large for their queue: until the job has ended without a failed row."""

    uuid = models.UUIDField(primary_key=True)
    """The id of the job."""
    connection = models.CharField(max_length=255)
    body = models.BinaryField(null=True)
    """zlib data; NULL where a storage has it."""
    created_at = models.DateTimeField()
    check_at = models.DateTimeField()
    """When pruning asks whether there still is such a job, by the clock of who dispatched it."""

    class Meta:
        db_table = "djqueue_payloads"
        verbose_name = _("large payload")
        verbose_name_plural = _("large payloads")
        indexes = (models.Index(fields=["check_at"], name="djqueue_payloads_check"),)
        # Nobody works with these rows, and `view_payload` is a permission of the jobs already.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.uuid)
