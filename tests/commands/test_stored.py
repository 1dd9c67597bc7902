"""queue_jobs, queue_show, queue_delete, queue_release, queue_clear."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from djqueue import queues
from djqueue.models import QueuedJob
from tests.app.models import Note
from tests.commands.jobs import Empty, Send
from tests.support import environment

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

KEYS = ["id", "name", "queue", "connection", "state", "attempts"]
KEYS += ["available_at", "reserved_at", "created_at"]


def left():
    return {str(job.uuid) for job in QueuedJob.objects.all()}


# -- queue_jobs ----------------------------------------------------------------------------------


def test_jobs_are_listed_in_the_order_they_run(run, reserve):
    first = Send(1).dispatch().id
    reserve("mail")
    delayed = Send(3).using(delay=60).dispatch().id
    second = Send(2).dispatch().id
    done = run("queue_jobs", "--json")
    assert done.code == 0
    assert [(each["id"], each["state"]) for each in done.objects] == [
        (first, "reserved"),
        (second, "waiting"),
        (delayed, "delayed"),
    ]
    assert list(done.objects[0])[: len(KEYS)] == KEYS
    assert done.objects[0]["reserved_at"].endswith("+00:00")
    assert done.objects[1]["reserved_at"] is None


def test_jobs_are_filtered_and_limited(run):
    Send(1).dispatch()
    Empty().dispatch()
    later = Empty().using(delay=60).dispatch().id
    assert len(run("queue_jobs", "--queue", "mail", "--json").lines) == 1
    assert len(run("queue_jobs", "--name", "test.commands.Empty", "--json").lines) == 2
    assert [j["id"] for j in run("queue_jobs", "--state", "delayed", "--json").objects] == [later]
    done = run("queue_jobs", "database", "--limit", 2)
    assert len(done.lines) == 3
    assert "the first 2" in done.err


def test_a_pipe_gets_a_head_and_a_line_a_job(run):
    id = Send(1).dispatch().id
    head, line = run("queue_jobs").lines
    assert head.split("\t")[:4] == ["ID", "NAME", "QUEUE", "STATE"]
    assert line.split("\t")[:5] == [id, "test.commands.Send", "mail", "waiting", "0"]


def test_a_connection_that_does_not_exist_is_an_error(run):
    done = run("queue_jobs", "databse")
    assert done.code == 1
    assert 'Did you mean "database"?' in done.err


@pytest.mark.django_db(transaction=True)
def test_a_reader_may_go_away():
    for number in range(300):
        Send(number).dispatch()
    command = f"{sys.executable} -m django queue_jobs --limit 0 | head -1"
    env = {**os.environ, **environment()}
    shell = ["bash", "-c", f"set -o pipefail; {command}"]
    done = subprocess.run(shell, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# -- queue_show ----------------------------------------------------------------------------------


def test_a_waiting_job_is_shown_with_its_arguments(run):
    note = Note.objects.create(text="n")
    id = Send(7, text="hello", note=note).dispatch().id
    done = run("queue_show", id[-8:])
    assert done.code == 0
    assert f"id: {id}" in done.lines
    assert "state: waiting" in done.lines
    assert "    number: 7" in done.lines
    assert '    text: "hello"' in done.lines
    (shown,) = run("queue_show", id, "--json").objects
    assert list(shown)[: len(KEYS)] == KEYS
    assert shown["arguments"]["number"] == 7


def test_secrets_are_masked_at_any_depth(run, fail):
    secrets = {"Password": "x1", "list": [{"auth": {"accessToken": "x2", "user": "anna"}}]}
    pairs = {"$": "dict", "v": [["client_secret", "x3"], [5, "five"]]}
    id = fail(authorization="x4", inner=secrets, pairs=pairs)
    done = run("queue_show", id)
    assert done.code == 0
    assert not any(secret in done.out for secret in ("x1", "x2", "x3", "x4"))
    assert "anna" in done.out
    assert "five" in done.out


def test_a_failed_job_is_shown_with_its_traceback(run, fail):
    id = fail(number=3)
    done = run("queue_show", id[:12])
    assert "state: failed" in done.lines
    assert r"exception message: it failed\nbadly" in done.lines
    assert "    Traceback (most recent call last):" in done.lines
    (shown,) = run("queue_show", id, "--json").objects
    assert shown["exception_class"] == "ValueError"
    assert shown["arguments"] == {"number": 3}


def test_a_damaged_payload_is_said_to_be_damaged(run):
    id = Empty().dispatch().id
    QueuedJob.objects.update(payload="{")
    assert "damaged: The payload is not JSON" in run("queue_show", id).out


@pytest.mark.parametrize("arguments", ['{"$":"dict"}', '[{"$":"dict","v":3}]', "[" * 60 + "]" * 60])
def test_strange_arguments_can_be_looked_at(run, arguments):
    id = Empty().dispatch().id
    text = QueuedJob.objects.get().payload.replace(
        '"arguments":{}', f'"arguments":{{"x":{arguments}}}'
    )
    QueuedJob.objects.update(payload=text)
    assert run("queue_show", id).code == 0
    assert run("queue_show", id, "--json").objects


def test_an_id_that_nobody_has_ends_with_3(run):
    done = run("queue_show", "aaaaaaaa")
    assert done.code == 3
    assert 'has the id "aaaaaaaa"' in done.err


# -- queue_delete --------------------------------------------------------------------------------


def test_ids_act_at_once(run):
    waiting, delayed = Send(1).dispatch().id, Send(2).using(delay=9).dispatch().id
    kept = Send(3).dispatch().id
    done = run("queue_delete", waiting, delayed[-10:])
    both = f"test.commands.Send {waiting}, test.commands.Send {delayed}"
    assert (done.code, done.out) == (0, f"Deleted 2 jobs.\n    {both}\n")
    assert left() == {kept}


def test_a_running_job_is_deleted_only_when_told_so(run, reserve):
    id = Send(1).dispatch().id
    reserve("mail")
    done = run("queue_delete", id)
    assert done.code == 1
    assert f"{id} was not deleted: worker" in done.err
    assert "--even-running" in done.err
    assert left() == {id}
    assert run("queue_delete", id, "--even-running").code == 0
    assert left() == set()


def test_a_stuck_job_is_deleted_like_a_waiting_one(run, reserve):
    id = Send(1).dispatch().id
    reserve("mail", stuck=True)
    assert run("queue_delete", id).code == 0
    assert left() == set()


def test_what_is_known_is_done_and_what_is_not_is_told(run):
    id = Send(1).dispatch().id
    done = run("queue_delete", id, "aaaaaaaa")
    assert done.code == 1
    assert f"Deleted 1 job.\n    test.commands.Send {id}\n" in done.out
    assert 'No job has the id "aaaaaaaa"' in done.err
    assert run("queue_delete", "aaaaaaaa").code == 3


def test_an_id_of_several_names_them_and_deletes_none(run):
    ids = sorted(Send(number).dispatch().id for number in range(2))
    QueuedJob.objects.filter(uuid=ids[0]).update(uuid="0190aaaabbbb7ccc8dddeeeeffff0001")
    QueuedJob.objects.filter(uuid=ids[1]).update(uuid="0190aaaabbbb7ccc8dddeeeeffff0002")
    done = run("queue_delete", "0190aaaa-bbbb")
    assert done.code == 3
    assert "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002" in done.err
    assert len(left()) == 2


def test_a_filter_asks_first(run):
    id = Send(1).dispatch().id
    kept = Empty().dispatch().id
    done = run("queue_delete", "--queue", "mail")
    assert done.code == 2
    assert f"test.commands.Send {id}\nThis deletes 1 job. Input is not a terminal" in done.err
    assert "--force" in done.err
    assert run("queue_delete", "--queue", "mail", answer="n\n").code == 1
    assert "1 job would be deleted" in run("queue_delete", "--queue", "mail", "--dry-run").out
    assert len(left()) == 2
    assert run("queue_delete", "--queue", "mail", answer="y\n").code == 0
    assert left() == {kept}
    assert run("queue_delete", "--name", "test.commands.Empty", "--force").code == 0
    assert left() == set()


def test_a_filter_that_fits_nothing_ends_with_3(run):
    done = run("queue_delete", "--queue", "mail", "--state", "stuck")
    assert (done.code, done.err) == (3, "No job matched. Nothing was changed.\n")


def test_states_narrow_a_filter(run, reserve):
    stuck = Send(1).dispatch().id
    reserve("mail", stuck=True)
    running = Send(2).dispatch().id
    reserve("mail")
    waiting = Send(3).dispatch().id
    assert run("queue_delete", "--queue", "mail", "--state", "stuck", "--force").code == 0
    assert left() == {running, waiting}
    assert run("queue_delete", "--queue", "mail", "--force").code == 0
    assert left() == {running}
    assert run("queue_delete", "--queue", "mail", "--state", "reserved", "--force").code == 2
    assert run("queue_delete", "--queue", "mail", "--even-running", "--force").code == 0
    assert left() == set()
    assert stuck


def test_a_wrong_call_of_delete_ends_with_2(run):
    assert run("queue_delete").code == 2
    assert run("queue_delete", "aaaa", "--queue", "mail").code == 2


# -- queue_release -------------------------------------------------------------------------------


def test_a_stuck_job_goes_back_to_waiting(run, reserve):
    id = Send(1).dispatch().id
    reserve("mail", stuck=True)
    done = run("queue_release", id)
    assert (done.code, done.out) == (0, f"Released 1 job.\n    test.commands.Send {id}\n")
    (job,) = queues["database"].peek("mail")
    assert (job.id, job.attempts, job.interruptions) == (id, 0, 1)


def test_only_stuck_jobs_are_released(run, reserve):
    id = Send(1).dispatch().id
    reserve("mail")
    done = run("queue_release", id)
    assert done.code == 1
    assert "it is not stuck (now: Running)" in done.err
    assert run("queue_release", "aaaaaaaa").code == 3
    assert run("queue_release").code == 2


def test_every_stuck_job_is_released_after_asking(run, reserve):
    for number in range(3):
        Send(number).dispatch()
    reserve("mail", 2, stuck=True)
    assert run("queue_release", "--stuck").code == 2
    assert run("queue_release", "--stuck", "--queue", "other", "--force").code == 3
    done = run("queue_release", "--stuck", answer="yes\n")
    assert done.code == 0
    assert done.out.startswith("Released 2 jobs.\n    test.commands.Send ")
    assert queues["database"].counts("mail").waiting == 3


# -- queue_clear ---------------------------------------------------------------------------------


def test_clear_spares_what_runs_and_asks_first(run, reserve):
    running = Send(1).dispatch().id
    reserve("mail")
    Send(2).dispatch()
    Send(3).using(delay=60).dispatch()
    other = Empty().dispatch().id
    assert run("queue_clear", "--queue", "mail").code == 2
    assert "2 jobs would be deleted" in run("queue_clear", "--queue", "mail", "--dry-run").out
    done = run("queue_clear", "database", "--queue", "mail", "--force")
    assert (done.code, done.lines[0]) == (0, "Deleted 2 jobs from database:mail.")
    assert done.lines[1].count("test.commands.Send ") == 2, "what it has deleted"
    assert left() == {running, other}


def test_clear_takes_several_queues_and_the_default_one(run):
    Send(1).dispatch()
    Empty().dispatch()
    assert run("queue_clear", "--force").lines[0] == "Deleted 1 job from database:default."
    done = run("queue_clear", "--queue", "mail,default", "--force")
    assert done.lines[0] == "Deleted 1 job from database:mail, database:default."
    assert run("queue_clear").code == 0
    assert run("queue_clear", "--queue", "no queue", "--force").code == 1
