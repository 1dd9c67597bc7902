"""The names that jobs compute for operators: commands show them beside the stored names."""

from __future__ import annotations

import pytest

from djqueue import context, queues
from djqueue.jobs import registry
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload import parts
from djqueue.testing import work
from djqueue.text.masking import MASK
from tests.commands.jobs import Empty, Shown

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

NAME = f"Order 7 password={MASK}"


@pytest.fixture
def _unknown():
    """The commands do not know the class."""
    found = registry.find("test.commands.Shown")
    registry.unregister("test.commands.Shown")
    yield
    registry.register(found)


@pytest.fixture
def job():
    return Shown(7, "hunter2").dispatch()


def cells(done):
    _head, line = done.lines
    return line.split("\t")


@pytest.mark.usefixtures("job", "_unknown")
def test_lists_show_both_names_without_the_class(run):
    assert cells(run("queue_jobs"))[1] == f"{NAME} (test.commands.Shown)"


def test_the_stored_name_is_for_programs_and_filters(run, job):
    (found,) = run("queue_jobs", "--json", "--name", "test.commands.Shown").objects
    assert found["name"] == "test.commands.Shown"
    assert QueuedJob.objects.get().name == "test.commands.Shown"
    assert len(run("queue_jobs", "--name", NAME).lines) == 1, "the head"
    shown = run("queue_show", job.id, "--json").objects[0]
    assert (shown["name"], shown["display_name"]) == ("test.commands.Shown", NAME)
    assert f"display name: {NAME}" in run("queue_show", job.id).lines


@pytest.mark.usefixtures("job")
def test_failed_jobs_keep_it(run):
    work()
    assert cells(run("queue_failed"))[2] == f"{NAME} (test.commands.Shown)"
    (found,) = run("queue_failed", "--json").objects
    assert found["name"] == "test.commands.Shown"
    assert f"display name: {NAME}" in run("queue_show", found["id"]).lines
    assert run("queue_retry", found["id"]).code == 0
    assert cells(run("queue_jobs"))[1] == f"{NAME} (test.commands.Shown)"


def test_other_jobs_store_none(run):
    Empty().dispatch()
    assert "display_name" not in QueuedJob.objects.get().payload
    assert cells(run("queue_jobs"))[1] == "test.commands.Empty"
    assert "display_name" not in run("queue_show", str(QueuedJob.objects.get().uuid), "--json").out


def test_a_context_and_other_parts_may_stand_beside_it(run):
    with context.scope(customer="c" * parts.BEGINNING):
        Shown(8).using(tags=["a"]).dispatch()
    text = QueuedJob.objects.get().payload
    assert parts.display_name(text[: parts.BEGINNING]) == "Order 8 password="
    assert parts.context_text(text).startswith('{"values":{"customer":"ccc')


@pytest.mark.parametrize("name", ['"Order', "7", "[]", '"a"]'])
def test_a_damaged_one_is_no_name(name):
    head = '{"v":1,"name":"x","options":{},"id":"1","sent":1.5'
    assert parts.display_name(f'{head},"display_name":{name}') in ("", "a")
    assert parts.display_name(head) == parts.display_name("x") == ""


@pytest.mark.parametrize("word", ["ж", "\U0001f600"])
def test_the_longest_name_is_in_the_beginning(word):
    class Long(Empty, name="test.commands.Long"):
        def display_name(self):
            return word * 200

    try:
        id = Long().dispatch().id
    finally:
        registry.unregister("test.commands.Long")
    (job,) = queues["database"].inspector.find([id])
    assert parts.display_name(job.payload[: parts.BEGINNING]) == word * 200


def test_a_failed_row_without_a_payload_is_listed_by_its_stored_name(run, fail):
    fail(name="test.commands.Empty")
    FailedJob.objects.update(payload="")
    assert cells(run("queue_failed"))[2] == "test.commands.Empty"
