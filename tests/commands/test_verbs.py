"""queue_stop, queue_move, queue_change, queue_release --now, queue_run, queue_export."""

from __future__ import annotations

import pytest

from djqueue import queues
from djqueue.management.commands import queue_run
from djqueue.models import FailedJob, QueuedJob
from djqueue.text.short_ids import short
from tests.commands.jobs import Send, Shown

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


def test_a_job_that_does_not_run_is_not_stopped(run):
    id = Send(1).dispatch().id
    done = run("queue_stop", short(id), "aaaaaaaa")
    assert done.code == 1
    assert f"{id} was not stopped: it is not running (now: Waiting)." in done.err
    assert "queue_delete" in done.err
    assert run("queue_stop", "aaaaaaaa").code == 3


def test_jobs_are_moved_and_named(run, reserve):
    first, second = Send(1).dispatch().id, Send(2).dispatch().id
    done = run("queue_move", short(first), "--queue", "default")
    assert (done.code, done.out) == (0, f"Moved 1 job.\n    test.commands.Send {first}\n")
    assert [job.id for job in queues["database"].peek("default")] == [first]
    reserve("mail")
    done = run("queue_move", second, "--queue", "default")
    assert done.code == 1
    assert f"{second} was not moved: worker" in done.err
    assert "queue_stop" in done.err
    assert 'Did you mean "mail"?' in run("queue_move", first, "--queue", "mial").err
    assert run("queue_move", first).code == 2
    assert "keeps no jobs" in run("queue_move", first, "--connection", "sync").err


def test_priority_and_time_are_changed(run):
    id = Send(1).dispatch().id
    assert run("queue_change", short(id), "--priority", 50, "--at", "30m").code == 0
    (job,) = queues["database"].peek("mail", "delayed")
    assert (job.id, job.priority) == (id, 50)
    assert run("queue_release", short(id), "--now").out.startswith("Released 1 job.")
    assert [job.id for job in queues["database"].peek("mail")] == [id]
    assert "it is not delayed" in run("queue_release", id, "--now").err
    assert run("queue_change", id, "--at", "2090-01-01T00:00").code == 0
    assert run("queue_run", id).out.startswith("Released 1 job.")
    assert run("queue_change", id).code == 2


def test_a_copy_is_another_job_with_the_same_arguments(run, fail):
    kept = fail(queue="mail", number=3, text="x", note=None, loud=False)
    done = run("queue_run", short(kept), "--copy")
    (copy,) = QueuedJob.objects.all()
    assert (
        done.out
        == f"Dispatched a copy of test.commands.Send {kept} to database:mail: {copy.uuid}\n"
    )
    assert '"number":3' in copy.payload
    assert FailedJob.objects.count() == 1
    assert run("queue_run", "aaaaaaaa", "--copy").code == 3


def test_a_part_of_the_ids_of_a_stored_and_of_a_failed_job_runs_neither(run, fail):
    id = Send(1).dispatch().id
    fail(number=3, text="x", note=None, loud=False)
    other = f"{id[:-4]}0000"
    FailedJob.objects.update(uuid=other)
    done = run("queue_run", id[:13], "--copy")
    assert done.code == 3
    assert id in done.err
    assert other in done.err
    assert QueuedJob.objects.count() == 1
    assert run("queue_run", id, "--copy").code == 0


def test_a_failed_job_runs_here_and_nothing_is_changed(run, fail, monkeypatch):
    id = fail(number=3, text="x", note=None, loud=False)
    assert run("queue_run", id, "--here").out == "Done: '3 x -'.\n"
    broken = fail(name="test.commands.Shown", order=1, password="y")
    debugged = []
    monkeypatch.setattr(queue_run.pdb, "post_mortem", debugged.append)
    done = run("queue_run", broken, "--here", "--pdb")
    assert done.code == 1
    assert 'raise ValueError("no")' in done.err
    (trace,) = debugged
    while trace.tb_next:
        trace = trace.tb_next
    assert trace.tb_frame.f_code is Shown.handle.__code__
    assert FailedJob.objects.count() == 2
    assert "queue_retry" in run("queue_run", id).err
    assert run("queue_run", id, "--here", "--copy").code == 2
    assert run("queue_run", id, "--pdb").code == 2


def test_everything_is_exported_with_secrets_masked(run, fail):
    old, new = fail(number=1), fail(queue="mail", password="hunter2")
    done = run("queue_export", "failed", "--json")
    assert [each["id"] for each in done.objects] == [old, new]
    assert "Traceback" in done.objects[0]["exception"]
    assert done.objects[0]["arguments"] == {"number": 1}
    assert "hunter2" not in done.out
    assert [each["id"] for each in run("queue_export", "failed", "--queue", "mail").objects] == [
        new
    ]
    waits = Send(4).dispatch().id
    (job,) = run("queue_export", "jobs", "--state", "waiting").objects
    assert (job["id"], job["arguments"]["number"]) == (waits, 4)
    assert run("queue_export", "failed", "--state", "stuck").code == 2
