"""What a worker's stdout and stderr hold."""

from __future__ import annotations

import json
import threading

import pytest
from django.core.management import CommandError, call_command

from tests.app import jobs
from tests.support import run_command

pytestmark = pytest.mark.django_db(transaction=True)


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
