"""djqueue: a job queue for Django.

    from djqueue import Inject, Job, job

    class SendReceipt(Job, queue="mail", tries=3):
        order: Order

        def handle(self) -> None: ...

    SendReceipt(order).dispatch()

Everything here can be imported before the app registry is ready.
"""

from djqueue.commands import queue_command
from djqueue.composition.batches.batch import batch
from djqueue.composition.chains.chain import chain
from djqueue.dispatch.connections import queues
from djqueue.dispatch.dispatch import adispatch, dispatch, dispatch_sync
from djqueue.dispatch.dispatched import DispatchedJob, find
from djqueue.dispatch.many import adispatch_many, dispatch_many
from djqueue.errors import QueueError
from djqueue.jobs.function import job
from djqueue.jobs.inject import Inject
from djqueue.jobs.job import Job, field
from djqueue.payload.backoff import exponential
from djqueue.receivers import queued_receiver
from djqueue.runner.current import CurrentJob, current_job

__version__ = "0.1.0"

__all__ = [
    "CurrentJob",
    "DispatchedJob",
    "Inject",
    "Job",
    "QueueError",
    "adispatch",
    "adispatch_many",
    "batch",
    "chain",
    "current_job",
    "dispatch",
    "dispatch_many",
    "dispatch_sync",
    "exponential",
    "field",
    "find",
    "job",
    "queue_command",
    "queued_receiver",
    "queues",
]
