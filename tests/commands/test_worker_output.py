"""What a worker's stdout and stderr hold."""

from __future__ import annotations

import json
import threading

import pytest
from django.core.management import CommandError, call_command

from tests.app import jobs
from tests.support import run_command

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anywhere]


def test_with_json_what_jobs_print_is_not_among_the_objects():
    jobs.says.dispatch("said by the job")
    done = run_command("queue_work", "--json", "--stop-when-empty", "--sleep", "0.1")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert "done" in events
    assert "said by the job" in done.stderr
    jobs.says.dispatch("said by the job")
    done = run_command("queue_work", "--stop-when-empty", "--sleep", "0.1")
    assert "said by the job" in done.stdout


def test_a_worker_in_a_thread_is_refused_in_words():
    told = []

    def start():
        try:
            call_command("queue_work", "--once")
        except CommandError as error:
            told.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(20)
    assert "djqueue.testing.work()" in told[0]


def test_each_limit_says_whether_it_was_typed():
    done = run_command("queue_work", "--once", "--grace", "5", "--verbosity", "2")
    limits = done.stdout.splitlines()[1]
    assert "1 child (default)" in limits
    assert "grace 5 s (command line)" in limits
    done = run_command("queue_work", "--once", "--workers", "2", "--verbosity", "2")
    limits = done.stdout.splitlines()[1]
    assert "2 children (command line)" in limits
    assert "grace 30 s (default)" in limits


def test_what_follows_from_once_is_no_default():
    done = run_command("queue_work", "--once", "--verbosity", "2")
    limits = done.stdout.splitlines()[1]
    assert "tries 1 (default)" in limits
    assert "max-jobs" not in limits


def test_a_name_that_no_queue_can_have_is_told_without_words_about_a_job(run):
    for line in (["queue_work", "--once"], ["queue_pause"], ["queue_clear", "--force"]):
        name = ["bad queue"] if line == ["queue_pause"] else ["--queue", "bad queue"]
        done = run(*line, *name)
        assert done.code == 1
        assert "bad queue" in done.err
        assert "Nothing was queued" not in done.err
