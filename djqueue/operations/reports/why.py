"""Why a job is not running: an answer in one sentence, and what to do about it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from djqueue.composition.chains.steps import MEMBER, ON_FAILURE
from djqueue.conf import settings
from djqueue.databases.now import aware
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.drivers import debounced
from djqueue.drivers.base import State
from djqueue.errors import Unsupported
from djqueue.operations import failed_jobs
from djqueue.operations.describe import remark_on
from djqueue.operations.reports.queues import problems, status
from djqueue.operations.words import grouped, relative, span, took
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
    from djqueue.models import FailedJob, FinishedJob, JobResult, Outbox

__all__ = ["Where", "Why", "of_ended", "of_failed", "of_finished", "of_stored", "of_waiting"]

SHOWN = 200
"""Characters of an error's message."""


class Where(Enum):
    """What has the job."""

    STORE = "store"
    OUTBOX = "outbox"
    FAILED = "failed jobs"
    RESULTS = "results"
    FINISHED = "finished jobs"


class Why(NamedTuple):
    """Why a job does not run."""

    id: str
    name: str
    state: str
    answer: str
    remedy: str = ""
    where: Where = Where.STORE
    place: str = ""
    """The connection if its store has the job, else the database alias."""
    row: int | None = None
    """The number of its row in the outbox."""


# -- in its store ----------------------------------------------------------------------------------


def of_stored(connection: str, job: StoredJob, *, errors: bool = True) -> Why:
    """Return why a job of a store does not run. Without `errors`, what its attempts raised is left
    out.
    """
    now = job.read_at or timezone.now()
    answer, remedy = _stored(connection, job, now, errors=errors)
    return Why(job.id, job.name, str(job.state), answer, remedy, place=connection)


def _stored(connection: str, job: StoredJob, now: datetime, *, errors: bool) -> tuple[str, str]:
    place = f"{connection}:{job.queue}"
    readers = _readers(connection, job.queue)
    if job.state is State.RESERVED:
        command = shell.manage("queue_stop", short_ids.short(job.id))
        return _running(job, now), gettext("To stop it: %s") % command
    if job.state is State.STUCK:
        gone = gettext("Its worker %s is gone.") % one_line(job.worker or "?")
        if readers:
            return gone, gettext("A worker that reads its queue takes it over within seconds.")
        takes = gettext("A worker takes the job over.")
        return gone, f"{takes} {_start(connection, job.queue)}"
    if (paused := _pause(connection, job.queue)) is not None:
        return (
            gettext("%(place)s is %(paused)s.")
            % {"place": place, "paused": problems.described(paused)},
            gettext("To resume it: %s") % problems.resume_command(paused),
        )
    if job.state is State.DELAYED:
        return _delayed(job, now, errors=errors)
    if remark := remark_on(job.name, job.name):
        deploy = gettext("Deploy the code that has it, or delete the job with queue_delete.")
        return remark, deploy
    if not readers:
        return gettext("No worker reads %s.") % place, _start(connection, job.queue)
    return _waits(connection, job, readers, now)


def _running(job: StoredJob, now: datetime) -> str:
    worker = one_line(job.worker or "?")
    if job.reserved_at is None:
        return gettext("It is running: worker %s took it.") % worker
    values = {"worker": worker, "ago": relative(job.reserved_at, now)}
    return gettext("It is running: worker %(worker)s took it %(ago)s.") % values


def _delayed(job: StoredJob, now: datetime, *, errors: bool) -> tuple[str, str]:
    due = relative(job.available_at or now, now)
    command = shell.manage("queue_release", short_ids.short(job.id), "--now")
    sooner = gettext("To run it now: %s") % command
    past = history.read(job.history)
    last = past.attempts[-1] if past.attempts else {}
    said = ""
    if errors:
        said = " " + one_line(masked_text(f"{last.get('class')}: {last.get('message')}"), SHOWN)
    kind = last.get("kind")
    if kind == "held back":
        return gettext("A limit holds it back: it is tried again %s.") % due + said, sooner
    if kind == "unknown":
        text = gettext("Workers could not run it, and ask again %s.") % due
        return text + said, gettext("Deploy the code that has it.")
    if past.errors:
        return _failed_before(job, due) + said, sooner
    if debounced.key_of(settings().shared_database, job.id):
        return _debounced(due), sooner
    return gettext("It is delayed: it is due %s.") % due, sooner


def _failed_before(job: StoredJob, due: str) -> str:
    values = {"number": job.attempts, "tries": limits_of(job.payload).tries, "due": due}
    if values["tries"]:
        text = gettext("Attempt %(number)s of %(tries)s has failed; the next one is due %(due)s.")
    else:
        text = gettext("Attempt %(number)s has failed; the next one is due %(due)s.")
    return text % values


def _debounced(due: str) -> str:
    text = gettext("It is debounced: it runs %s, unless another dispatch with its key comes first.")
    return text % due


def _waits(connection: str, job: StoredJob, readers: int, now: datetime) -> tuple[str, str]:
    waiting = queues[connection].inspector.counts(job.queue).waiting or 1
    waits = gettext("It waits for its turn:")
    if job.available_at is not None:
        age = span((now - job.available_at).total_seconds())
        waits = gettext("It has been waiting for %s:") % age
    who = ngettext("%(count)s worker reads %(place)s", "%(count)s workers read %(place)s", readers)
    held = ngettext("which has %s waiting job.", "which has %s waiting jobs.", waiting)
    who %= {"count": grouped(readers), "place": f"{connection}:{job.queue}"}
    more = gettext("More workers run it sooner.")
    return f"{waits} {who}, {held % grouped(waiting)}", f"{more} {_start(connection, job.queue)}"


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
    return gettext("Start one: %s") % shell.manage("queue_work", connection, "--queue", queue)


# -- in the outbox ---------------------------------------------------------------------------------


def of_waiting(alias: str, row: Outbox) -> Why:
    """Return why a job of the outbox is not in its store yet."""
    answer, remedy = _parked(alias, row)
    return Why(str(row.uuid), row.name, "waiting", answer, remedy, Where.OUTBOX, alias, row.pk)


def _parked(alias: str, row: Outbox) -> tuple[str, str]:
    if row.connection not in settings().connections:
        return (
            gettext('Its connection "%s" is not in the settings.') % one_line(row.connection),
            gettext("Add it to DJQUEUE, or delete the job."),
        )
    if row.chain is not None:
        return _step(alias, row)
    now, due = timezone.now(), aware(row.due_at)
    if row.parked and due is not None and due > now:
        if row.debounced:
            return _debounced(relative(due, now)), ""
        text = gettext("It is delayed: it is due %s, and waits in SQL until then.")
        return text % relative(due, now), ""
    command = shell.manage("queue_work", row.connection)
    return (
        gettext('It is on its way to connection "%s".') % row.connection,
        gettext("A worker of that connection moves it there: %s") % command,
    )


def _step(alias: str, row: Outbox) -> tuple[str, str]:
    """Return why a step of a chain, or what follows from a batch, waits."""
    from djqueue.models import JobBatch, Outbox

    if JobBatch.objects.using(alias).filter(pk=row.chain).exists():
        command = shell.manage("queue_batches", str(row.chain))
        look = gettext("To see the batch: %s") % command
        if row.position == MEMBER:
            text = gettext("It is a member of batch %s, whose turn in its chain has not come.")
        else:
            text = gettext("Batch %s calls for it when its time comes.")
        return text % row.chain, look
    if row.position == ON_FAILURE:
        return gettext("It runs if a step of its chain fails."), ""
    if row.broken:
        return gettext("A step of its chain before it has failed."), _failed_step(row.chain)
    before = Outbox.objects.using(alias).filter(chain=row.chain, position__lt=row.position)
    steps = before.exclude(position=ON_FAILURE).count()
    text = ngettext(
        "It waits for %s step of its chain before it.",
        "It waits for %s steps of its chain before it.",
        steps + 1,
    )
    return text % grouped(steps + 1), ""


def _failed_step(chain: str | None) -> str:
    """Return how to retry the failed step of a chain; how to find it, if it is not among those that
    failed last.
    """
    from djqueue.payload.links import LINKS_MARK

    find = gettext("Find that step: %s") % shell.manage("queue_failed")
    try:
        rows = failed_jobs.table().filter(payload__contains=LINKS_MARK).order_by("-id")[:500]
    except Unsupported:
        return find
    for row in rows:
        if links_of(row.payload).chain == chain:
            command = shell.manage("queue_retry", short_ids.short(row.uuid))
            return gettext("Retry that step: %s") % command
    return find


# -- ended -----------------------------------------------------------------------------------------


def of_failed(row: FailedJob, *, errors: bool = True) -> Why:
    """Return when a failed job failed, and without `errors` not of what."""
    id, failed_at = str(row.uuid), aware(row.failed_at) or timezone.now()
    if errors:
        message = masked_text(f"{row.exception_class}: {row.exception_message}")
    else:
        message = row.exception_class
    values = {"when": relative(failed_at, timezone.now()), "number": row.attempts}
    answer = gettext("It failed %(when)s, at attempt %(number)s.") % values
    remedy = gettext("To retry it: %s") % shell.manage("queue_retry", short_ids.short(id))
    return Why(id, row.name, "failed", f"{answer} {one_line(message, SHOWN)}", remedy, Where.FAILED)


def of_ended(row: JobResult, ended: asking.JobStatus) -> Why:
    """Return how a job ended whose result is kept."""
    when = relative(aware(row.finished_at) or timezone.now(), timezone.now())
    answer = gettext("It is %(ended)s, %(when)s.") % {"ended": ended, "when": when}
    place = rows.store() or ""
    return Why(str(row.id), row.name, str(ended), answer, "", Where.RESULTS, place)


def of_finished(row: FinishedJob) -> Why:
    """Return that a job was done a short while ago, where ``KEEP_DONE`` keeps such."""
    when = relative(aware(row.finished_at) or timezone.now(), timezone.now())
    answer = gettext("It was done %(when)s, in %(took)s.")
    answer %= {"when": when, "took": took(row.duration)}
    place = settings().job_database
    return Why(str(row.uuid), row.name, "done", answer, "", Where.FINISHED, place)
