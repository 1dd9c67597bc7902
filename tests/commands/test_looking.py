"""queue_workers, queue_why, queue_dispatch --list, queue_status --watch."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from djqueue import batch, chain, job, queues
from djqueue.dispatch import controls
from djqueue.jobs import registry
from djqueue.management import watching
from djqueue.models import FailedJob, JobBatch, Outbox, QueuedJob, Worker
from djqueue.operations.reports.finding import why
from djqueue.payload import history
from djqueue.testing import work
from djqueue.text.short_ids import short
from tests.commands.jobs import Send, Shown

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


@pytest.fixture
def worker():
    """Return a function that makes the row of a worker."""

    def worker(name="web-1:42", queues="mail", *, alive=60, **given):
        now = timezone.now()
        times = {
            "started_at": now - timedelta(hours=3),
            "alive_until": now + timedelta(seconds=alive),
        }
        place = {"hostname": "web-1", "pid": 42, "connection": "database", "queues": queues}
        return Worker.objects.create(name=name, **place, **times, **given)

    return worker


# -- queue_workers -------------------------------------------------------------------------------


def test_workers_are_listed_with_what_they_run(run, worker, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "No worker runs" in run("queue_workers", terminal=True).out
    running = [["01a21858-7ddc-7eb6-a720-655703caee4f", "shop.SendReceipt", time.time() - 12]]
    worker(running=json.dumps(running), memory=130 << 20, version="0.1.0")
    worker("web-2:7", "high,default", version="0.2.0")
    worker("web-3:9", alive=-240)
    done = run("queue_workers", terminal=True)
    assert "different versions of djqueue: 0.1.0, 0.2.0" in done.err
    head, first, runs, second, third, lost = done.lines
    assert head.split() == ["WORKER", "QUEUES", "STATE", "MEMORY", "VERSION", "STARTED"]
    assert first.split() == [
        "web-1:42",
        "database:mail",
        "running",
        "130",
        "MB",
        "0.1.0",
        "3",
        "h",
        "ago",
    ]
    assert runs == "  ↳ shop.SendReceipt 03caee4f for 12 s"
    assert second.split()[:3] == ["web-2:7", "database:high,default", "idle"]
    assert third.split()[2] == "lost"
    assert lost == "  ↳ its lease expired 4 min ago"
    found = run("queue_workers", "database", "--json").objects
    assert found[0]["running"][0]["name"] == "shop.SendReceipt"
    assert found[1]["queues"] == ["high", "default"]
    assert run("queue_workers", "nowhere").code == 1


@pytest.mark.parametrize("running", ["{", "[1]", '[["a","b","c"]]', '[["a","b",1e99]]'])
def test_a_damaged_row_is_listed(run, worker, running):
    worker(running=running)
    assert run("queue_workers").code == 0


# -- queue_why -----------------------------------------------------------------------------------


def test_a_waiting_job_says_what_it_waits_for(run, worker):
    id = Send(1).dispatch().id
    done = run("queue_why", short(id))
    assert done.lines[0] == "No worker reads database:mail."
    assert done.lines[1] == "    Start one: python manage.py queue_work database --queue mail"
    worker()
    assert re.fullmatch(
        r"It has been waiting for \d+ s: 1 worker reads database:mail, which has 1 waiting job\.",
        run("queue_why", id).lines[0],
    )
    controls.pause("database", "mail", for_=1800, reason="SMTP is down", by="anna")
    done = run("queue_why", id)
    assert done.lines[0].startswith(
        "database:mail is paused for another 29 min by anna: SMTP is down."
    )
    assert "queue_resume database:mail" in done.out
    (found,) = run("queue_why", id, "--json").objects
    assert (found["id"], found["state"]) == (id, "waiting")
    assert run("queue_why", "aaaaaaaa").code == 3


def test_a_delayed_job_says_until_when_and_why(worker):
    job = Send(1).using(delay=290).dispatch()
    worker()
    assert why(job.id).answer == "It is delayed: it is due in 4 min."
    assert why(job.id).remedy.endswith(f"queue_release {short(job.id)} --now")
    for kind, said in [
        ("raised", "Attempt 0 has failed; the next one is due in 4 min. OSError: no"),
        ("held back", "A limit holds it back: it is tried again in 4 min. OSError: no"),
        ("unknown", "Workers could not run it, and ask again in 4 min. OSError: no"),
    ]:
        past = history.add(history.read(""), history.Entry(1, kind, "OSError", "no"))
        QueuedJob.objects.update(history=past)
        assert why(job.id).answer == said


def test_a_job_that_has_a_worker_or_had_one_says_which(reserve, worker):
    job = Send(1).dispatch()
    holder = worker()
    reserve("mail")
    QueuedJob.objects.update(reserved_by=holder.pk)
    assert why(job.id).answer == "It is running: worker web-1:42 took it just now."
    Worker.objects.update(alive_until=timezone.now() - timedelta(minutes=1))
    assert why(job.id).answer == "Its worker web-1:42 is gone."
    assert why(job.id).remedy == (
        "A worker takes the job over. Start one: python manage.py queue_work database --queue mail"
    )


def test_a_job_without_code_says_so(worker):
    job = Send(1).dispatch()
    worker()
    QueuedJob.objects.update(
        name="shop.Gone",
        payload=QueuedJob.objects.get().payload.replace("test.commands.Send", "shop.Gone"),
    )
    assert why(job.id).answer.startswith('No running code knows a job called "shop.Gone".')


def test_a_step_of_a_chain_says_what_it_waits_for():
    chain([Shown(order=1), Send(2), Send(3)]).dispatch()
    second, third = Outbox.objects.order_by("position")
    assert why(str(second.uuid)).answer == "It waits for 1 step of its chain before it."
    assert why(str(third.uuid)[-8:]).answer == "It waits for 2 steps of its chain before it."
    assert work() == 1
    failed = FailedJob.objects.get()
    assert why(str(second.uuid)).answer == "A step of its chain before it has failed."
    assert (
        why(str(second.uuid)).remedy
        == f"Retry that step: python manage.py queue_retry {short(failed.uuid)}"
    )
    assert why(str(failed.uuid)).answer.startswith(
        "It failed just now, at attempt 1. ValueError: no"
    )
    failed.delete()
    assert why(str(second.uuid)).remedy == "Find that step: python manage.py queue_failed"


def test_what_waits_for_a_batch_says_so(run):
    chain([Send(1), batch([Send(2)], on_success=Send(3))]).dispatch()
    inner = JobBatch.objects.get()
    member, callback = Outbox.objects.filter(chain=inner.pk).order_by("position")
    assert why(str(member.uuid)).answer == (
        f"It is a member of batch {inner.pk}, whose turn in its chain has not come."
    )
    assert why(str(callback.uuid)).answer == f"Batch {inner.pk} calls for it when its time comes."
    assert why(str(callback.uuid)).remedy.endswith(f"manage.py queue_batches {inner.pk}")
    assert run("queue_why", inner.pk).code == 3  # it is no job


def test_a_debounced_job_says_that_another_may_come(worker):
    @job(name="looking.hasty", queue="mail", debounce=300)
    def hasty() -> None:
        """Do nothing."""

    worker()
    try:
        assert why(hasty.dispatch().id).answer == (
            "It is debounced: it runs in 4 min, unless another dispatch with its key comes first."
        )
    finally:
        registry.unregister("looking.hasty")


def test_a_job_for_an_unknown_connection_says_so(run):
    job = queues["database"].driver
    assert job
    now = timezone.now()
    row = Outbox.objects.create(
        connection="gone",
        queue="q",
        uuid="01a21858-7ddc-7eb6-a720-655703caee4f",
        name="x",
        payload="{}",
        due_at=now,
        created_at=now,
    )
    assert run("queue_why", row.uuid).lines[0] == 'Its connection "gone" is not in the settings.'


# -- queue_dispatch --list, queue_status --watch --------------------------------------------------


def test_jobs_are_listed_with_arguments_and_places(run):
    (line,) = [
        each for each in run("queue_dispatch", "--list").lines if "test.commands.Send\t" in each
    ]
    _name, connection, queue, arguments, place = line.split("\t")
    assert (connection, queue) == ("database", "mail")
    assert (
        arguments
        == "number: int, text: str = …, note: tests.app.models.Note | None = …, loud: bool = …"
    )
    assert place.partition(":")[0] == "tests/commands/jobs.py"
    found = run("queue_dispatch", "commands.sen", "--list", "--json").objects
    assert [each["name"] for each in found] == ["test.commands.Send"]
    assert "↳ (number: int" in run("queue_dispatch", "--list", terminal=True).out
    assert run("queue_dispatch").code == 2


def test_a_status_that_is_watched_ends_with_ctrl_c(run, monkeypatch):
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    done = run("queue_status", "--watch", "5", terminal=True)
    assert (done.code, looks) == (0, [5.0, 5.0]), done.err
    assert done.out.count(watching.CLEAR) == 2
    assert done.out.count("QUEUE ") == 2
