"""The admin: the overview, jobs, parked jobs, failed jobs, finished jobs, batches, results
and workers.

Importing this registers them with the project's ``admin.site``; a project with a site of its own
registers the same classes with that one.

Not here: how jobs are changed. Actions call `djqueue.operations`, as commands do.
"""

from __future__ import annotations

from django.contrib import admin

from djqueue.admin.batches import JobBatchAdmin
from djqueue.admin.bound.waiting import OutboxAdmin
from djqueue.admin.failed import FailedJobAdmin
from djqueue.admin.jobs import QueuedJobAdmin
from djqueue.admin.overview.page import OverviewAdmin
from djqueue.admin.results import FinishedJobAdmin, JobResultAdmin
from djqueue.admin.workers import WorkerAdmin
from djqueue.models import (
    FailedJob,
    FinishedJob,
    JobBatch,
    JobResult,
    Outbox,
    Overview,
    QueuedJob,
    Worker,
)

__all__ = [
    "FailedJobAdmin",
    "FinishedJobAdmin",
    "JobBatchAdmin",
    "JobResultAdmin",
    "OutboxAdmin",
    "OverviewAdmin",
    "QueuedJobAdmin",
    "WorkerAdmin",
]

admin.site.register(Overview, OverviewAdmin)
admin.site.register(QueuedJob, QueuedJobAdmin)
admin.site.register(Outbox, OutboxAdmin)
admin.site.register(FailedJob, FailedJobAdmin)
admin.site.register(FinishedJob, FinishedJobAdmin)
admin.site.register(JobBatch, JobBatchAdmin)
admin.site.register(JobResult, JobResultAdmin)
admin.site.register(Worker, WorkerAdmin)
