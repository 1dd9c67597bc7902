"""The verbs of the admin, by the same tests on stores that are no database."""

from __future__ import annotations

import json

import pytest

from djqueue.admin.verbs import stored
from tests.admin.test_other_stores import (
    ALL,
    Screen,
    beanstalkd,
    connected,
    create,
    push,
    redis,
    reserve,
    said,
)

__all__ = ["beanstalkd", "redis"]  # fixtures

pytestmark = [pytest.mark.redis, pytest.mark.beanstalkd, pytest.mark.django_db]

EVERY = (*ALL, "change_queuedjob", "add_queuedjob", "stop_job", "view_exception")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """No worker runs here that could stop a job."""
    monkeypatch.setattr(stored, "STOP_WITHIN", 0.0)


class Verbs:
    """An operator who does something to the one job of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.screen = Screen(*EVERY)
        self.queue = connection.settings.queue

    def row(self, queue=None):
        [row] = self.screen.rows(queue=queue or self.queue).values()
        return row

    def do(self, action, row, **fields):
        seen = f"{row.pk}:{row.seen}"
        form = {"action": action, "index": "0", "_selected_action": row.pk, "seen": seen}
        answer = {"confirmed": "yes", **fields}
        return self.screen.browser.post(self.screen.url, {**form, **answer})


def _every_verb(connection):
    push(connection, "app.record", number=3)
    verbs = Verbs(connection)
    assert said(verbs.do("change_jobs", verbs.row(), due="2h")) == "Changed 1 job."
    assert verbs.row().state == "delayed"
    told = said(verbs.do("run_jobs_now", verbs.row()))
    assert told == "1 delayed job may run now."
    assert verbs.row().state == "waiting"
    other = f"{verbs.queue}-slow"
    assert said(verbs.do("move_jobs", verbs.row(), queue=other)) == "Moved 1 job."
    row = verbs.row(other)
    text = b"".join(verbs.do("export_rows", row).streaming_content).decode()
    assert json.loads(text)["arguments"] == {"number": 3}
    assert "is not running" in said(verbs.do("stop_jobs", row))
    assert said(verbs.do("move_jobs", row, queue=verbs.queue)) == "Moved 1 job."
    assert said(verbs.do("copy_jobs", verbs.row())) == "Dispatched a copy of 1 job."
    while rows := verbs.screen.rows(queue=verbs.queue):
        assert said(verbs.do("delete_jobs", next(iter(rows.values())))) == "Deleted 1 job."


def _looked_at(connection):
    """UI-16: lists, searches and pages of jobs change nothing in the store."""
    queue = connection.settings.queue
    before = _numbers(connection)
    screen = Screen(*EVERY)
    for _ in range(3):
        assert screen.browser.get(screen.url).status_code == 200
        assert screen.browser.get(screen.url, {"q": "app.record"}).status_code == 200
        for row in screen.rows(queue=queue).values():
            assert screen.page(row).status_code in (200, 302)
    assert _numbers(connection) == before
    return before


def _numbers(connection):
    """How many wait, are delayed, and are reserved."""
    counts = connection.inspector.counts(connection.settings.queue)
    return counts.waiting, counts.delayed, counts.reserved


def _one_of_each(connection):
    push(connection, "app.held")
    session = reserve(connection)
    push(connection, "app.record", number=1)
    push(connection, "app.later", delay=3600)
    return session


def test_looking_at_redis_changes_nothing(redis):
    session = _one_of_each(redis)
    counts = _looked_at(redis)
    assert counts == (1, 1, 1)
    session.leave()


def test_looking_at_beanstalkd_changes_nothing(beanstalkd):
    session = _one_of_each(beanstalkd)
    counts = _looked_at(beanstalkd)
    assert counts == (1, 1, 1)
    session.leave()


@pytest.mark.sqs
def test_looking_at_sqs_changes_nothing_and_says_why_there_is_no_list(sqs_server):
    create(sqs_server, "admin-looking")
    server = {"ENDPOINT_URL": sqs_server.url, "PREFIX": sqs_server.prefix, "WAIT": 0}
    with connected(DRIVER="sqs", QUEUE="admin-looking", **server) as sqs:
        push(sqs, "app.record", number=1)
        counts = _looked_at(sqs)
        assert counts == (1, 0, 0)
        assert "SQS shows messages only to those who receive them" in Screen().text()


def test_every_verb_on_redis(redis):
    _every_verb(redis)


def test_every_verb_on_beanstalkd(beanstalkd):
    _every_verb(beanstalkd)
