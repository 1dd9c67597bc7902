"""Commands about a connection that passes its jobs on show and change what its members hold."""

from __future__ import annotations

import pytest
from django.test import override_settings

from djqueue import queues
from djqueue.dispatch import controls
from djqueue.drivers.base import OutgoingJob

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

DJQUEUE = {
    "DEFAULT": "resilient",
    "CONNECTIONS": {
        "resilient": {"DRIVER": "failover", "CONNECTIONS": ["first", "second"]},
        "first": {"DRIVER": "database"},
        "second": {"DRIVER": "database", "DATABASE": "queue"},
    },
}
IDS = ("0190aaaa-0000-7000-8000-000000000001", "0190bbbb-0000-7000-8000-000000000002")


@pytest.fixture(autouse=True)
def _one_job_on_each():
    with override_settings(DJQUEUE=DJQUEUE):
        for name, id in zip(("first", "second"), IDS, strict=True):
            queues[name].driver.push([OutgoingJob(id, "default", "shop.Pack", "{}")])
        yield


def sizes():
    return queues["first"].size(), queues["second"].size()


def test_a_worker_is_told_which_workers_to_start(run):
    done = run("queue_work", "resilient")
    assert done.code == 1
    assert "it passes them on to first or second" in done.err
    assert "`queue_work first` and `queue_work second`" in done.err


@pytest.mark.parametrize("arguments", [(), ("resilient",)])
def test_queues_are_those_of_the_members(run, arguments):
    found = run("queue_status", *arguments, "--json").objects
    assert [(each["connection"], each["waiting"]) for each in found] == [
        ("first", 1),
        ("second", 1),
    ]
    done = run("queue_status", *arguments)
    assert "queue_work first --queue default" in done.out
    assert "queue_work second --queue default" in done.out


def test_jobs_are_listed_with_the_member_that_has_them(run):
    found = run("queue_jobs", "--json").objects
    assert [(each["id"], each["connection"]) for each in found] == [
        (IDS[0], "first"),
        (IDS[1], "second"),
    ]
    assert len(run("queue_jobs", "resilient", "--limit", 1, "--json").objects) == 1


def test_a_job_is_found_shown_and_deleted_where_it_is(run):
    assert "second" in run("queue_show", IDS[1]).out
    assert run("queue_delete", "0190bbbb").code == 0
    assert sizes() == (1, 0)


def test_clearing_clears_all_members(run):
    done = run("queue_clear", "resilient", "--force")
    assert done.lines[0] == "Deleted 2 jobs from first:default, second:default."
    assert sizes() == (0, 0)


def test_members_are_monitored_each(run):
    done = run("queue_monitor", "resilient:default", "--max", 1)
    assert done.code == 4
    assert "queue_work second --queue default" in done.err


def test_pausing_and_resuming_is_for_all_members(run):
    assert run("queue_pause", "default").lines == [
        "first:default is paused until queue_resume.",
        "second:default is paused until queue_resume.",
    ]
    assert controls.is_paused("second", "default")
    assert run("queue_resume", "resilient:default").lines == [
        "first:default is resumed.",
        "second:default is resumed.",
    ]


def test_a_member_that_cannot_be_asked_hides_no_other(run):
    connections = {
        **DJQUEUE["CONNECTIONS"],
        "down": {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"},
        "resilient": {"DRIVER": "failover", "CONNECTIONS": ["down", "second"]},
    }
    with override_settings(DJQUEUE={**DJQUEUE, "CONNECTIONS": connections}):
        done = run("queue_jobs", "--json")
        assert (done.code, [each["id"] for each in done.objects]) == (1, [IDS[1]])
        assert 'Connection "down"' in done.err
        done = run("queue_status", "resilient", "--json")
        assert (done.code, [each["connection"] for each in done.objects]) == (1, ["second"])
        assert "Connection down could not be asked" in done.err
        assert IDS[1] in run("queue_show", IDS[1]).out
