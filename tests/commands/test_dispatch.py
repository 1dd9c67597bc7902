"""queue_dispatch: jobs from a shell, their arguments read as the annotations say."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest

from djqueue import queues
from djqueue.jobs import registry
from djqueue.management import typed
from djqueue.models import QueuedJob
from djqueue.payload import payload
from tests.app.models import Note
from tests.commands.jobs import Address, Send, Size, every

pytestmark = pytest.mark.django_db(databases=["default", "queue"])


def stored():
    job = QueuedJob.objects.get()
    return job, registry.find(job.name).load(payload.decode(job.payload).arguments)


def test_a_job_is_dispatched_by_its_name(run):
    note = Note.objects.create(text="n")
    done = run("queue_dispatch", "test.commands.Send", "number=42", "text=42", f"note={note.pk}")
    assert done.code == 0
    row, job = stored()
    assert done.out == f"Dispatched test.commands.Send to database:mail: {row.uuid}\n"
    assert job == Send(42, "42", note)


def test_arguments_may_be_json(run):
    given = json.dumps({"number": 1, "text": "null", "loud": True})
    done = run("queue_dispatch", "test.commands.Send", "--args", given, "--json")
    (told,) = done.objects
    assert list(told) == ["id", "name", "queue", "connection"]
    assert told["queue"] == "mail"
    assert stored()[1] == Send(1, "null", loud=True)


def test_where_and_when_may_be_said(run):
    line = "test.commands.Empty --queue slow --delay 30m --connection database"
    assert run("queue_dispatch", *line.split()).code == 0
    assert queues["database"].counts("slow").delayed == 1


def test_sync_runs_it_here(run):
    done = run("queue_dispatch", "test.commands.Send", "number=1", "text=x", "--sync")
    assert (done.code, done.out) == (0, "Done: '1 x -'\n")
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["test.commands.Sned"], 1, 'Did you mean "test.commands.Send"?'),
        (["send"], 1, 'Did you mean "test.commands.Send"?'),
        (["test.commands.Send"], 2, "test.commands.Send needs number."),
        (["test.commands.Send", "nmber=1"], 2, 'Did you mean "number"?'),
        (["test.commands.Send", "number=one"], 2, '"number" is "one", which is not a valid int'),
        (["test.commands.Send", "number=1.5"], 2, "which is not a valid int"),
        (["test.commands.Send", "number=true"], 2, "which is not a valid int"),
        (["test.commands.Send", "number=1", "note=77"], 2, "there is no app.Note of that key"),
        (["test.commands.Send", "number=1", "loud=yes"], 2, "which is not a valid bool"),
        (["test.commands.Send", "number"], 2, "is not written as argument=value"),
        (["test.commands.Send", "--args", "{"], 2, "--args is not JSON"),
        (["test.commands.Send", "--args", "[1]"], 2, "--args is not a JSON object"),
        (["test.commands.Send", "number=1", "--args", "{}"], 2, "not both"),
        (["test.commands.Empty", "x=1"], 2, "It takes no arguments."),
        (
            ["test.commands.Send", "number=1", "--queue", "no queue"],
            1,
            "Send.using(): queue is 'no queue', not letters",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_queued(run, arguments, code, text):
    done = run("queue_dispatch", *arguments)
    assert done.code == code
    assert text in done.err
    assert not QueuedJob.objects.exists()


UUID = uuid.UUID(int=7)
UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("2026-05-01", "day", dt.date(2026, 5, 1)),
        ("2026-05-01T10:00:00+00:00", "at", dt.datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01 10:00", "at", dt.datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("10:30", "hour", dt.time(10, 30)),
        ("90", "span", dt.timedelta(seconds=90)),
        ("01:30:00", "span", dt.timedelta(minutes=90)),
        ("1.10", "price", Decimal("1.10")),
        (str(UUID), "key", UUID),
        ("LARGE", "size", Size.LARGE),
        ("l", "size", Size.LARGE),
        ("text", "raw", b"text"),
        ("2", "ratio", 2.0),
        ('["a", "b"]', "tags", ["a", "b"]),
        ('[1, "x"]', "pair", (1, "x")),
        ("[1, 2, 2]", "ids", {1, 2}),
        ('{"a": "1.5"}', "prices", {"a": Decimal("1.5")}),
        ('{"street": "Main", "number": 3}', "address", Address("Main", 3)),
        ("5", "either", 5),
        ("five", "either", "five"),
        ("5", "anything", 5),
        ("five", "anything", "five"),
        ('{"a": [1]}', "anything", {"a": [1]}),
        ("null", "day", None),
    ],
)
def test_a_text_becomes_what_the_annotation_says(text, name, value):
    job = typed.from_texts(every.job_class._spec, {name: text})
    found = job._arguments()[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tomorrow", "day"),
        ("2026-13-01", "day"),
        ("NaN", "price"),
        ("x", "key"),
        ("MEDIUM", "size"),
        ("Infinity", "ratio"),
        ("a,b", "tags"),
        ("[1]", "pair"),
        ('["x"]', "ids"),
        ('{"nowhere": 1}', "address"),
        ("{}", "address"),
        ("1e400", "span"),
    ],
)
def test_a_text_that_is_none_of_that_is_refused(text, name):
    with pytest.raises(TypeError, match=f'test.commands.every: argument "{name}"'):
        typed.from_texts(every.job_class._spec, {name: text})


def test_a_queryset_is_not_given_here():
    with pytest.raises(TypeError, match="is a queryset, which cannot be written as text"):
        typed.from_json(every.job_class._spec, {"notes": [1, 2]})
