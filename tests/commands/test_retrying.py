"""queue_retry with a pace and with other arguments; queue_health."""

from __future__ import annotations

import os
import socket
from argparse import ArgumentTypeError
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from djqueue import queues
from djqueue.dispatch import controls
from djqueue.management.options import group, pace
from djqueue.models import FailedJob, JobResult, QueuedJob, Worker
from djqueue.operations.retrying import How, retry
from djqueue.payload import payload
from djqueue.testing import work
from tests.commands.jobs import Send, keep
from tests.dispatch.memory import MemoryDriver

pytestmark = pytest.mark.django_db(databases=["default", "queue"])
ARGUMENTS = {"number": 3, "text": "x", "note": None, "loud": False}


def due_in():
    rows = QueuedJob.objects.order_by("available_at")
    return [round((row.available_at - row.created_at).total_seconds()) for row in rows]


# -- --spread ------------------------------------------------------------------------------------


def test_a_rate_spreads_the_retried_jobs(run, fail):
    for _ in range(4):
        fail()
    done = run("queue_retry", "all", "--spread", "6/m", "--force")
    assert done.out.startswith("Retried 4 jobs. The last one is due in 30 s.")
    assert due_in() == [0, 10, 20, 30]
    assert queues["database"].counts().waiting == 1


def test_a_duration_is_divided_among_them(run, fail):
    for _ in range(4):
        fail()
    assert run("queue_retry", "--queue", "default", "--spread", "2m", "--force").code == 0
    assert due_in() == [0, 30, 60, 90]


@pytest.mark.parametrize("text", ["10/x", "/s", "-1/s", "0/s", "nan/s", "soon"])
def test_what_is_no_pace(text):
    with pytest.raises(Exception, match="is not a"):
        pace(text)


def test_a_request_to_stop_an_earlier_run_is_forgotten(run, fail):
    id = fail()
    controls.request_stop(id)
    assert run("queue_retry", id).code == 0
    assert controls.stops_left([id]) == set()


# -- --set ---------------------------------------------------------------------------------------


def test_a_job_is_retried_with_another_argument(run, fail):
    id = fail(**ARGUMENTS)
    done = run("queue_retry", id, "--set", "number=4", "--set", "text=y z")
    assert done.out.startswith('number: 3 → 4\ntext: "x" → "y z"\nRetried 1 job.')
    read = payload.decode(QueuedJob.objects.get().payload)
    assert (read.id, read.arguments) == (id, {**ARGUMENTS, "number": 4, "text": "y z"})
    assert work(queue="mail") == 0, "it goes to the queue that it failed in"
    assert work() == 1
    assert not FailedJob.objects.exists()


def test_what_the_job_does_not_take_is_refused_and_nothing_changes(run, fail):
    id = fail(**ARGUMENTS)
    for given, code, said in [
        ("nubmer=4", 2, 'Did you mean "number"?'),
        ("number=four", 2, 'argument "number" is "four", which is not a valid int'),
        ("number", 2, "is not written as argument=value"),
        ("note=77", 2, "there is no app.Note of that key"),
    ]:
        done = run("queue_retry", id, "--set", given)
        assert (done.code, said in done.err) == (code, True), done.err
    assert run("queue_retry", "all", "--set", "number=4", "--force").code == 2
    assert FailedJob.objects.filter(uuid=id).exists()
    assert not QueuedJob.objects.exists()


def test_an_argument_that_the_code_needs_by_now_can_be_given(run, fail):
    id = fail(text="x", gone=1)
    assert "lacks" in run("queue_retry", id, "--set", "text=y").err
    done = run("queue_retry", id, "--set", "number=1")
    assert done.code == 0, done.err
    assert payload.decode(QueuedJob.objects.get().payload).arguments == {"number": 1, "text": "x"}
    assert work() == 1


def test_the_difference_is_shown_without_secrets_and_without_a_retry(run, fail):
    id = fail(name="test.commands.Shown", order=1, password="old-secret")
    done = run("queue_retry", id, "--set", "password=new-secret", "--set", "order=2", "--dry-run")
    assert "order: 1 → 2" in done.lines
    assert "secret" not in done.out
    assert "1 failed job would be retried" in done.out
    assert FailedJob.objects.count() == 1


def test_a_mask_that_was_copied_is_no_value(run, fail):
    id = fail(name="test.commands.Shown", order=1, password="old-secret")
    done = run("queue_retry", id, "--set", "password=********")
    assert "stands for a secret" in done.err
    assert FailedJob.objects.filter(uuid=id).exists()


# -- queue_health --------------------------------------------------------------------------------


def test_ready_is_when_tables_and_stores_are_there(run, settings):
    done = run("queue_health")
    assert (done.code, done.lines[0]) == (0, "OK  database default")
    assert "OK  connection memory" in done.lines
    known = settings.DJQUEUE
    away = {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"}
    settings.DJQUEUE = {**known, "CONNECTIONS": {**known["CONNECTIONS"], "away": away}}
    done = run("queue_health", "--ready", "--json")
    assert done.code == 4
    (found,) = done.objects
    assert not found["ok"]
    assert [each["name"] for each in found["checks"] if not each["ok"]] == ["connection away"]
    assert run("queue_health", "database").code == 0
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'djqueue'")
    assert "Migrations are missing: 0001_initial, 0002_" in run("queue_health", "database").err


def test_deep_is_when_nothing_is_wrong_with_the_queues(run):
    assert run("queue_health", "database", "--deep").code == 0
    Send(1).dispatch()
    done = run("queue_health", "database", "--deep")
    assert done.code == 4
    assert "queues: database:mail holds 1 job" in done.err


def test_live_is_when_a_worker_of_this_machine_is_alive(run):
    assert run("queue_health", "--live").code == 4
    now = timezone.now()
    worker = Worker.objects.create(
        name="w", hostname=socket.gethostname(), pid=os.getpid(), connection="database",
        queues="mail", started_at=now, alive_until=now + timedelta(hours=1),
    )  # fmt: skip
    assert run("queue_health", "--live").out == "OK  workers: w\n"
    assert run("queue_health", "database", "--live").code == 0
    assert "No worker runs on host web-7." in run("queue_health", "--live", "--host", "web-7").err
    Worker.objects.filter(pk=worker.pk).update(pid=2**22 + 1)
    assert "are gone. Start one" in run("queue_health", "--live").err
    Worker.objects.filter(pk=worker.pk).update(alive_until=now - timedelta(seconds=1))
    assert "have not renewed their leases" in run("queue_health", "--live").err
    assert run("queue_health", "--live", "--deep").code == 2


def test_live_asks_for_workers_of_the_connection_that_is_named(run, settings):
    now, ours = timezone.now(), settings.DJQUEUE
    member = {"DRIVER": "failover", "CONNECTIONS": ["database", "memory"]}
    settings.DJQUEUE = {**ours, "CONNECTIONS": {**ours["CONNECTIONS"], "resilient": member}}
    Worker.objects.create(
        name="w", hostname=socket.gethostname(), pid=os.getpid(), connection="memory",
        queues="mail", started_at=now, alive_until=now + timedelta(hours=1),
    )  # fmt: skip
    assert run("queue_health", "memory", "--live").code == 0
    assert run("queue_health", "resilient", "--live").code == 0
    done = run("queue_health", "database", "--live")
    assert done.code == 4
    assert "No worker of connection database runs" in done.err
    assert run("queue_health", "nowhere", "--live").code == 1
    Worker.objects.all().delete()
    done = run("queue_health", "resilient", "--live")
    assert "Start one: python manage.py queue_work database or queue_work memory" in done.err


# -- --on and --group ----------------------------------------------------------------------------


def test_jobs_go_to_another_queue(run, fail):
    fail(queue="mail")
    done = run("queue_retry", "all", "--on", "slow", "--force")
    assert done.out.startswith("Retried 1 job on slow.")
    assert QueuedJob.objects.get().queue == "slow"


def test_jobs_go_to_another_connection_and_keep_their_queues(run, fail):
    id = fail(queue="mail")
    done = run("queue_retry", id, "--on", "memory:")
    assert done.out.startswith("Retried 1 job on memory.")
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()
    [job] = MemoryDriver.stores["memory"]
    assert (job.id, job.queue) == (id, "mail")


def test_jobs_go_to_a_queue_of_another_connection(run, fail):
    id = fail(queue="mail")
    assert run("queue_retry", id, "--on", "memory:slow").code == 0
    [job] = MemoryDriver.stores["memory"]
    assert job.queue == "slow"


@pytest.mark.parametrize(
    ("place", "code", "why"),
    [
        (":", 2, "takes a queue"),
        (":slow", 2, "takes a queue"),
        ("nowhere:slow", 1, "nowhere"),
        ("a b", 1, "a b"),
        ("sync:", 1, "keeps no jobs"),
    ],
)
def test_a_place_that_cannot_be(run, fail, place, code, why):
    id = fail()
    done = run("queue_retry", id, "--on", place)
    assert done.code == code
    assert why in done.err
    assert FailedJob.objects.filter(uuid=id).exists()


def test_a_result_says_where_its_job_is_now(run):
    given = keep.dispatch(1)
    work(connection="database")
    id = FailedJob.objects.get().uuid
    assert str(id) == given.id
    assert run("queue_retry", given.id, "--on", "database:slow").code == 0
    assert JobResult.objects.get(pk=id).queue == "slow"


@pytest.mark.parametrize("place", [":", "nowhere:", "a b", "sync:", "memory:{a}b", "database:{a}b"])
def test_a_place_that_cannot_be_is_refused_before_the_question(run, fail, place):
    fail()
    done = run("queue_retry", "all", "--on", place, answer="n", terminal=True)
    assert done.code
    assert "This retries" not in done.out
    dry = run("queue_retry", "all", "--on", place, "--dry-run")
    assert (dry.code, dry.out) == (done.code, "")


def test_the_rules_of_a_queue_are_those_of_the_connection_that_the_job_goes_to(run, fail):
    """On Redis a name may have a tag, and in a database none: the default does not decide it."""
    id = fail()
    done = run("queue_retry", id, "--on", "{a}b")
    assert done.code == 1
    assert "is not a queue name" in done.err
    assert FailedJob.objects.filter(uuid=id).exists()
    assert not QueuedJob.objects.exists()


def test_a_tagged_queue_is_one_where_the_connection_takes_it(run, fail, monkeypatch):
    tagged = replace(MemoryDriver.capabilities, tagged_queues=True)
    monkeypatch.setattr(MemoryDriver, "capabilities", tagged)
    id = fail()
    FailedJob.objects.update(connection="memory")
    assert run("queue_retry", id, "--on", "{a}b").code == 0
    [job] = MemoryDriver.stores["memory"]
    assert job.queue == "{a}b"


def test_a_record_a_question_and_a_dry_run_say_where_the_jobs_go(run, fail, caplog):
    fail(queue="mail")
    dry = run("queue_retry", "--queue", "mail", "--on", "memory:slow", "--dry-run")
    assert dry.out.startswith("1 failed job would be retried on memory:slow.")
    asked = run("queue_retry", "all", "--on", "memory:", answer="n", terminal=True)
    assert "This retries 1 failed job on memory." in asked.out + asked.err
    with caplog.at_level("INFO", "djqueue.audit"):
        assert run("queue_retry", "--queue", "mail", "--on", "memory:slow", "--force").code == 0
    [record] = [each.message for each in caplog.records if each.name == "djqueue.audit"]
    assert "to=memory:slow" in record


@pytest.mark.parametrize("place", ["memory", "database"])
def test_a_result_says_it_also_where_the_process_dies_right_after_the_retry(run, place):
    given = keep.dispatch(1)
    work(connection="database")

    def die(keys):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(on_moved=die, how=How(connection=place, queue="slow"))
    row = JobResult.objects.get(pk=given.id)
    assert (row.connection, row.queue) == (place, "slow")


def test_a_group_is_listed_and_retried(run, fail):
    ids = [fail() for _ in range(3)]
    FailedJob.objects.filter(uuid__in=ids[:2]).update(fingerprint="a1b2c3" + "0" * 34)
    FailedJob.objects.filter(uuid=ids[2]).update(fingerprint="ffffff" + "0" * 34)
    [largest, other] = run("queue_failed", "--groups", "--json").objects
    assert (largest["group"][:6], largest["number"], other["number"]) == ("a1b2c3", 2, 1)
    piped = run("queue_failed", "--groups", "--limit", "1")
    assert piped.lines[1].startswith("a1b2c3")
    assert "1 more groups" in piped.err
    done = run("queue_retry", "--group", "a1b2c3", "--force")
    assert done.out.startswith("Retried 2 jobs.")
    assert [str(row.uuid) for row in FailedJob.objects.all()] == ids[2:]
    assert run("queue_forget", "--group", "ffffff", "--force").code == 0
    assert not FailedJob.objects.exists()


@pytest.mark.parametrize("text", ["", "a1b2", "xyzxyz", "a" * 41])
def test_what_is_no_group(text):
    with pytest.raises(ArgumentTypeError, match="is no group"):
        group(text)


def test_a_group_that_none_is_in_matches_nothing(run, fail):
    fail()
    assert run("queue_retry", "--group", "abcdef").code == 3


def test_on_a_terminal_a_group_takes_two_lines(run, fail):
    fail()
    FailedJob.objects.update(fingerprint="a1b2c3d4" + "0" * 32)
    done = run("queue_failed", "--groups", terminal=True)
    assert done.lines[0].split() == ["NUMBER", "NAME", "LAST", "GROUP"]
    assert done.lines[1].split()[-1] == "a1b2c3d4"
