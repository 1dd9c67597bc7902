"""Why a job is not running: an answer in one sentence, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.utils import timezone

from djqueue.composition.chains.steps import MEMBER, ON_FAILURE
from djqueue.conf import settings
from djqueue.databases.now import aware
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.drivers import debounced
from djqueue.drivers.base import State
from djqueue.errors import JobNotFound, Unsupported
from djqueue.operations import failed_jobs, selection, status
from djqueue.operations.describe import remark_on
from djqueue.operations.words import number_of, relative, span
from djqueue.payload import history
from djqueue.payload.links import links_of
from djqueue.payload.payload import limits_of
from djqueue.results import asking, rows
from djqueue.text import shell, short_ids
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from djqueue.drivers.base import StoredJob
    from djqueue.models import FailedJob, Outbox

__all__ = ["Why", "of_stored", "why"]

SHOWN = 200
"""Characters of an error's message."""


class Why(NamedTuple):
    """Why a job does not run."""

    id: str
    name: str
    state: str
    answer: str
    remedy: str = ""


def why(text: str, connection: str | None = None) -> Why:
    """Return why the job whose id is `text`, or begins or ends with it, does not run. Raises
    `JobNotFound`.
    """
    try:
        return of_stored(*selection.locate(text, connection))
    except JobNotFound as error:
        missing = error
    found = _of_outbox(text, connection) or _of_failed(text) or _of_ended(text)
    if found is None:
        raise missing
    return found


# -- in its store ----------------------------------------------------------------------------------


def of_stored(connection: str, job: StoredJob) -> Why:
    """Return why a job of a store does not run."""
    now = job.read_at or timezone.now()
    answer, remedy = _stored(connection, job, now)
    return Why(job.id, job.name, str(job.state), answer, remedy)


def _stored(connection: str, job: StoredJob, now: datetime) -> tuple[str, str]:
    place = f"{connection}:{job.queue}"
    readers = _readers(connection, job.queue)
    if job.state is State.RESERVED:
        taken = f" {relative(job.reserved_at, now)}" if job.reserved_at else ""
        return (
            f"It is running: worker {one_line(job.worker or '?')} took it{taken}.",
            f"To stop it: {shell.manage('queue_stop', short_ids.short(job.id))}",
        )
    if job.state is State.STUCK:
        return f"Its worker {one_line(job.worker or '?')} is gone.", (
            "A worker that reads its queue takes it over within seconds."
            if readers
            else f"A worker takes the job over. {_start(connection, job.queue)}"
        )
    if (paused := _pause(connection, job.queue)) is not None:
        return (
            f"{place} is {status.described(paused)}.",
            f"To resume it: {status.resume_command(paused)}",
        )
    if job.state is State.DELAYED:
        return _delayed(job, now)
    if remark := remark_on(job.name, job.name):
        return remark, "Deploy the code that has it, or delete the job with queue_delete."
    if not readers:
        return f"No worker reads {place}.", _start(connection, job.queue)
    return _waits(connection, job, readers, now)


def _delayed(job: StoredJob, now: datetime) -> tuple[str, str]:
    due = "" if job.available_at is None else f" {relative(job.available_at, now)}"
    sooner = f"To run it now: {shell.manage('queue_release', short_ids.short(job.id), '--now')}"
    past = history.read(job.history)
    last = past.attempts[-1] if past.attempts else {}
    said = one_line(masked_text(f"{last.get('class')}: {last.get('message')}"), SHOWN)
    kind = last.get("kind")
    if kind == "held back":
        return f"A limit holds it back: it is tried again{due}. {said}", sooner
    if kind == "unknown":
        return (
            f"Workers could not run it, and ask again{due}. {said}",
            "Deploy the code that has it.",
        )
    if past.errors:
        tries = limits_of(job.payload).tries
        of = f" of {tries}" if tries else ""
        return f"Attempt {job.attempts}{of} has failed; the next one is due{due}. {said}", sooner
    if debounced.key_of(settings().shared_database, job.id):
        return _debounced(due), sooner
    return f"It is delayed: it is due{due}.", sooner


def _debounced(due: str) -> str:
    return f"It is debounced: it runs{due}, unless another dispatch with its key comes first."


def _waits(connection: str, job: StoredJob, readers: int, now: datetime) -> tuple[str, str]:
    counts = queues[connection].inspector.counts(job.queue)
    waits = "It waits for its turn"
    if job.available_at is not None:
        waits = f"It has been waiting for {span(_seconds(job.available_at, now))}"
    held = number_of(counts.waiting or 1, "waiting job")
    who = "1 worker reads" if readers == 1 else f"{readers} workers read"
    return (
        f"{waits}: {who} {connection}:{job.queue}, which has {held}.",
        f"More workers run it sooner. {_start(connection, job.queue)}",
    )


def _seconds(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds()


def _readers(connection: str, queue: str) -> int:
    alive = status.alive(queues[connection])
    return sum(queue in worker.queues.split(",") for worker in alive)


def _pause(connection: str, queue: str) -> controls.Pause | None:
    """Return the pause of a queue, that of every queue first; None if it is not paused."""
    for each in controls.pauses():
        everywhere = each.connection == controls.EVERY_QUEUE
        if everywhere or (each.connection, each.queue) == (connection, queue):
            return each
    return None


def _start(connection: str, queue: str) -> str:
    return f"Start one: {shell.manage('queue_work', connection, '--queue', queue)}"


# -- in the outbox ---------------------------------------------------------------------------------


def _of_outbox(text: str, connection: str | None) -> Why | None:
    """Return why a job waits that is not in its store yet."""
    part = short_ids.digits(text)
    for alias in settings().databases:
        for row in _rows(alias, part):
            if connection is None or row.connection == connection:
                answer, remedy = _parked(alias, row)
                return Why(str(row.uuid), row.name, "waiting", answer, remedy)
    return None


def _rows(alias: str, part: str) -> list[Outbox]:
    from django.db.models import Q

    from djqueue.models import Outbox

    like = Q(uuid__startswith=short_ids.as_begin(part)) | Q(uuid__endswith=short_ids.as_end(part))
    jobs = Outbox.objects.using(alias).exclude(connection="")  # a batch that is a step has none
    return list(jobs.filter(like)[:1])


def _parked(alias: str, row: Outbox) -> tuple[str, str]:
    if row.connection not in settings().connections:
        return (
            f'Its connection "{row.connection}" is not in the settings.',
            "Add it to DJQUEUE, or delete the job.",
        )
    if row.chain is not None:
        return _step(alias, row)
    now, due = timezone.now(), aware(row.due_at)
    if row.parked and due is not None and due > now:
        if row.debounced:
            return _debounced(f" {relative(due, now)}"), ""
        return f"It is delayed: it is due {relative(due, now)}, and waits in SQL until then.", ""
    return (
        f'It is on its way to connection "{row.connection}".',
        f"A worker of that connection moves it there: {shell.manage('queue_work', row.connection)}",
    )


def _step(alias: str, row: Outbox) -> tuple[str, str]:
    """Return why a step of a chain, or what follows from a batch, waits."""
    from djqueue.models import JobBatch, Outbox

    if JobBatch.objects.using(alias).filter(pk=row.chain).exists():
        look = f"To see the batch: {shell.manage('queue_batches', str(row.chain))}"
        if row.position == MEMBER:
            text = f"It is a member of batch {row.chain}, whose turn in its chain has not come."
            return text, look
        return f"Batch {row.chain} calls for it when its time comes.", look
    if row.position == ON_FAILURE:
        return "It runs if a step of its chain fails.", ""
    if row.broken:
        return (
            "A step of its chain before it has failed.",
            _failed_step(row.chain),
        )
    before = Outbox.objects.using(alias).filter(chain=row.chain, position__lt=row.position)
    steps = before.exclude(position=ON_FAILURE).count()
    return f"It waits for {number_of(steps + 1, 'step')} of its chain before it.", ""


def _failed_step(chain: str | None) -> str:
    """Return how to retry the failed step of a chain; how to find it, if it is not among those that
    failed last.
    """
    from djqueue.payload.links import LINKS_MARK

    find = "Find that step: python manage.py queue_failed"
    try:
        rows = failed_jobs.table().filter(payload__contains=LINKS_MARK).order_by("-id")[:500]
    except Unsupported:
        return find
    for row in rows:
        if links_of(row.payload).chain == chain:
            return f"Retry that step: {shell.manage('queue_retry', short_ids.short(row.uuid))}"
    return find


# -- ended -----------------------------------------------------------------------------------------


def _of_failed(text: str) -> Why | None:
    try:
        row: FailedJob = failed_jobs.find(text)
    except (JobNotFound, Unsupported):
        return None
    id, failed_at = str(row.uuid), aware(row.failed_at) or timezone.now()
    message = masked_text(f"{row.exception_class}: {row.exception_message}")
    when = relative(failed_at, timezone.now())
    return Why(
        id,
        row.name,
        "failed",
        f"It failed {when}, at attempt {row.attempts}. {one_line(message, SHOWN)}",
        f"To retry it: {shell.manage('queue_retry', short_ids.short(id))}",
    )


def _of_ended(text: str) -> Why | None:
    part = short_ids.digits(text)
    alias = rows.store()
    if alias is None or len(part) < short_ids.LENGTH:
        return None
    row = rows.table(alias).filter(id=part).first()
    if row is None or (ended := asking.ended_as(row)) is None:
        return None
    when = relative(aware(row.finished_at) or timezone.now(), timezone.now())
    return Why(str(row.id), row.name, str(ended), f"It is {ended}, {when}.")
