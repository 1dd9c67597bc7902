"""Whatever is stored, a command prints lines of its own and nothing that a terminal acts upon."""

from __future__ import annotations

import json
import os
import shlex
import uuid

import pytest
from hypothesis import HealthCheck, given, settings

from djqueue import queues
from djqueue.drivers.base import OutgoingJob
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload import history, payload
from tests.admin.support import failed, waiting
from tests.admin.test_hostile_text import STORED, hostile_payload, text_with
from tests.commands.jobs import Send
from tests.databases import vendor
from tests.test_masking import NAMES, PLACES, TEXTS, VALUE
from tests.test_text import HOSTILE, unfit

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

EXAMPLES = int(os.environ.get("DJQUEUE_TEST_EXAMPLES") or (15 if vendor() == "sqlite" else 5))
FORGED = "id: forged\n\rid: forged\x1b]52;c;x\x07\x9b31m\u202e\x85id: forged"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=HOSTILE, stored=STORED)
def test_any_text_in_any_column_can_be_printed(run, text, stored):
    past = history.add(history.read(""), history.Entry(1, "raised", text, text))
    job = waiting(payload=hostile_payload(text), queue="mail", name=stored[:255], history=past)
    row = failed(
        payload=hostile_payload(text),
        exception=stored,
        exception_class=stored[:255],
        exception_message=stored[:1000],
        queue=stored[:80],
        name=stored[:255],
        history=past,
    )
    lines = [
        ["queue_jobs"],
        ["queue_failed"],
        ["queue_show", job.uuid],
        ["queue_show", row.uuid],
        ["queue_forget", row.uuid, "--dry-run"],
        ["queue_delete", job.uuid, "--dry-run"],
        ["queue_status"],
        ["queue_why", job.uuid],
        ["queue_why", row.uuid],
        ["queue_export", "jobs"],
        ["queue_export", "failed"],
    ]
    for line in lines:
        for more in ([], ["--json"] if "--dry-run" not in line else ["--no-color"]):
            done = run(*line, *more)
            assert done.code == 0, done.err
            assert not unfit(done.out + done.err, "\n\t")
            if more == ["--json"]:
                assert all(json.loads(each) for each in done.lines)
    assert run("queue_forget", row.uuid).code == 0
    assert run("queue_delete", job.uuid).code == 0
    QueuedJob.objects.all().delete()
    FailedJob.objects.all().delete()


def test_no_line_is_forged(run):
    row = failed(
        name=FORGED,
        queue="q",
        exception=FORGED,
        exception_class=FORGED,
        exception_message=FORGED,
        history=history.add(history.read(""), history.Entry(1, "raised", FORGED, FORGED)),
        payload=text_with({"x": FORGED, FORGED: 1}),
    )
    job = waiting(name=FORGED, payload=text_with({FORGED: FORGED}))
    for line in (
        ["queue_show", row.uuid],
        ["queue_show", job.uuid],
        ["queue_failed"],
        ["queue_jobs"],
        ["queue_retry", row.uuid, "--dry-run"],
        ["queue_forget", row.uuid],
        ["queue_delete", job.uuid],
    ):
        done = run(*line)
        assert done.code == 0, done.err
        assert not [each for each in done.lines if each.startswith("id: forged")]
        assert not unfit(done.out + done.err, "\n\t")


def test_a_name_in_a_command_to_copy_is_one_word(run):
    queue = "mail; reboot $(id)"
    job = waiting(queue=queue, name="test.commands.Send")
    for line in (["queue_status"], ["queue_why", job.uuid]):
        (command,) = (each for each in run(*line).lines if "queue_work" in each)
        assert shlex.split(command)[-1] == queue


def test_a_stream_that_lacks_a_character_gets_it_spelled_out(run, monkeypatch):
    import io

    from django.core.management import call_command

    job = waiting(name="naïve\udce9".encode("utf-8", "ignore").decode())
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    call_command("queue_show", str(job.uuid), stdout=out)
    out.seek(0)
    assert r"name: na\xefve" in out.read()


@pytest.mark.anywhere
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_among_the_arguments_is_readable(run, place):
    arguments = {f"{at}": PLACES[place](name) for at, name in enumerate(NAMES)}
    job = waiting(payload=text_with(arguments))
    for more in ([], ["--json"]):
        assert VALUE not in run("queue_show", job.uuid, *more).out


@pytest.mark.anywhere
def test_no_secret_of_an_exception_is_readable(run):
    told = [text.format(name=name, value=VALUE) for text in TEXTS.values() for name in NAMES]
    for start in range(0, len(told), 20):
        some = told[start : start + 20]
        past = ""
        for text in some:
            past = history.add(history.read(past), history.Entry(1, "raised", "E", text))
        row = failed(exception="\n".join(some), exception_message=some[0], history=past)
        for line in (["queue_show", row.uuid], ["queue_failed", "--limit", 1]):
            for more in ([], ["--json"]):
                assert VALUE not in run(*line, *more).out


def test_what_changes_something_is_on_record(run, fail, caplog):
    id, other = fail(queue="mail"), Send(1).dispatch().id
    third = fail()
    with caplog.at_level("INFO", "djqueue.audit"):
        run("queue_forget", "--queue", "mail", "--force")
        run("queue_delete", other)
        run("queue_retry", third)
        run("queue_pause", "mail", "--reason", "x\nforged")
        run("queue_resume", "mail")
        run("queue_clear", "--force")
        run("queue_dispatch", "test.commands.Empty")
        run("queue_clear", "--force", "--dry-run")
    said = [record.getMessage() for record in caplog.records]
    assert all(line.isprintable() for line in said)
    for line, parts in zip(
        said,
        [
            ("(queue_forget) forget: 1 changed", "queue=mail", id),
            ("(queue_delete) delete: 1 changed", other),
            ("(queue_retry) retry: 1 changed", third),
            ("(queue_pause) pause", r"reason=x\nforged"),
            ("(queue_resume) resume",),
            ("(queue_clear) clear: 1 changed", "database:default"),
            ("(queue_dispatch) dispatch: 1", "test.commands.Empty"),
        ],
        strict=True,
    ):
        assert all(part in line for part in parts), line


def test_what_is_pushed_by_somebody_else_is_no_danger_either(run):
    head = payload.encode_head(FORGED, payload.Limits())
    id = str(uuid.uuid4())
    text = payload.encode(head, id, 1.0, {})
    queues["database"].driver.push([OutgoingJob(id, "mail", FORGED, text)])
    done = run("queue_jobs", "--queue", "mail")
    assert len(done.lines) == 2
    assert not unfit(done.out, "\n\t")
