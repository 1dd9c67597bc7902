"""The context of a dispatch is that of the job, wherever that runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.test import RequestFactory
from django.utils import timezone, translation

from djqueue import (
    adispatch_many,
    context,
    dispatch,
    dispatch_many,
    dispatch_sync,
    find,
    queues,
)
from djqueue.errors import InvalidPayload
from djqueue.models import FailedJob
from djqueue.operations.retrying import retry
from djqueue.payload.parts import context_text
from djqueue.payload.payload import Limits, decode, encode, encode_head, encode_more
from djqueue.testing import fake_queue, work
from tests.app import carrying
from tests.app.carrying import SECRET, Carries, acarries, carries
from tests.support import ROOT, environment, start_worker

CARRIED = {"a": 1, "language": "ja", "secret": True, "zone": "Asia/Tokyo"}
NOTHING = {"language": "en-us", "secret": False, "zone": "UTC"}


def carried():
    """Values, hidden ones, a language and a time zone."""
    stack = ExitStack()
    stack.enter_context(context.scope(a=1, hidden={"token": SECRET}))
    stack.enter_context(translation.override("ja"))
    stack.enter_context(timezone.override("Asia/Tokyo"))
    return stack


def elsewhere():
    """A context that no job here was dispatched with."""
    stack = ExitStack()
    stack.enter_context(context.scope(other=2))
    stack.enter_context(translation.override("fr"))
    stack.enter_context(timezone.override("America/Lima"))
    return stack


@pytest.fixture
def hearing():
    carrying.hear()
    yield
    carrying.deafen()


def seen(ledger, what="handle"):
    return [json.loads(detail) for detail in ledger.details(what)]


def test_in_a_worker_with_what_it_dispatches_and_in_each_receiver(ledger):
    with carried():
        carries.dispatch("dispatch")
        carries.dispatch("release")
    carries.dispatch("spoil")
    carries.dispatch()
    options = ("--stop-when-empty", "--workers", 1, "--tries", 2)
    with start_worker(*options, overrides={"HEARS_CONTEXT": True}) as worker:
        assert worker.wait(30) == 0
        assert SECRET not in worker.output
    assert sorted(seen(ledger), key=str) == [CARRIED] * 4 + [NOTHING] * 2
    assert sorted(seen(ledger, "succeeded"), key=str) == [CARRIED] * 3 + [NOTHING] * 2
    assert seen(ledger, "released") == [CARRIED]


def test_in_failed_and_in_the_retry_of_a_failed_row(ledger):
    with carried():
        Carries().dispatch()
    with start_worker("--stop-when-empty", "--workers", 1) as worker:
        assert worker.wait(30) == 0
    assert seen(ledger) == seen(ledger, "failed") == [CARRIED]
    row = FailedJob.objects.values().get()
    assert SECRET not in repr(row)
    assert retry().moved == 1
    with start_worker("--stop-when-empty", "--workers", 1) as worker:
        assert worker.wait(30) == 0
    assert seen(ledger) == seen(ledger, "failed") == [CARRIED] * 2


def test_in_a_worker_without_children(ledger, hearing):
    with carried():
        carries.dispatch("dispatch")
        Carries().dispatch()
    with elsewhere():
        call_command("queue_work", "--workers", "0", "--stop-when-empty", stdout=StringIO())
    assert seen(ledger) == [CARRIED] * 3
    assert seen(ledger, "failed") == [CARRIED]
    assert seen(ledger, "succeeded") == [CARRIED] * 2


def test_in_a_test(ledger, hearing):
    with carried():
        carries.dispatch("dispatch")
        carries.dispatch("release")
    carries.dispatch("spoil")
    with elsewhere():
        work()
        assert context.values() == {"other": 2}
        assert translation.get_language() == "fr"
        assert timezone.get_current_timezone_name() == "America/Lima"
    found = seen(ledger)
    assert (found.count(CARRIED), found.count(NOTHING)) == (3, 1)  # released, it has no try left
    assert seen(ledger, "released") == [CARRIED]


def test_where_it_runs_at_once(ledger, hearing):
    with carried():
        assert dispatch_sync(carries.bind()) == CARRIED
        dispatch(carries.using(connection="sync").bind("dispatch"))
        dispatch_sync(acarries.bind())
        with pytest.raises(ValueError, match="no"):
            dispatch_sync(Carries())
    assert seen(ledger, "failed") == [CARRIED]
    work()
    assert seen(ledger) == [CARRIED] * 6


def test_what_a_job_changes_ends_with_it(ledger):
    with elsewhere():
        dispatch_sync(carries.bind("spoil"))
        assert context.values() == {"other": 2}
        assert translation.get_language() == "fr"
        assert timezone.get_current_timezone_name() == "America/Lima"


def test_after_the_response(ledger, settings):
    settings.DJQUEUE = {
        "DEFAULT": "deferred",
        "CONNECTIONS": {"deferred": {"DRIVER": "deferred"}, "database": {"DRIVER": "database"}},
    }
    from djqueue.dispatch.inline import after_response

    after_response.started(RequestFactory().get("/").environ)
    with carried():
        carries.dispatch()
    with elsewhere():
        after_response.finished()
    assert seen(ledger) == [CARRIED]


def test_after_the_commit(ledger, redis_server, settings):
    from django.db import transaction

    settings.DJQUEUE = {
        "DEFAULT": "redis",
        "CONNECTIONS": {"redis": {"DRIVER": "redis", "URL": redis_server.url, "PREFIX": "carry"}},
    }
    with transaction.atomic(), carried():
        carries.dispatch()
    with elsewhere():
        work()
    assert seen(ledger) == [CARRIED]
    queues[None].close()


def test_with_many_and_from_a_coroutine(ledger):
    async def dispatching():
        with context.scope(a=1, hidden={"token": SECRET}), translation.override("ja"):
            await carries.adispatch()
            await adispatch_many(carries.bind() for _ in range(3))

    async_to_sync(dispatching)()
    with carried():
        dispatch_many(carries.bind() for _ in range(1500))
    assert work(max_jobs=10) == 10
    first, last = seen(ledger)[:4], seen(ledger)[4:]
    assert first == [{**CARRIED, "zone": "UTC"}] * 4
    assert last == [CARRIED] * 6
    queues[None].clear()


def test_recorded_jobs_have_it(ledger):
    with fake_queue() as queue:
        with carried():
            carries.dispatch("dispatch")
        with elsewhere():
            assert queue.run() == 2
    assert seen(ledger) == [CARRIED] * 2


def test_what_cannot_be_decrypted_fails_with_its_reason_and_is_not_lost(ledger, settings, hearing):
    secret = settings.SECRET_KEY
    with carried():
        job = Carries("")
        id = job.dispatch().id
    settings.SECRET_KEY = "other" * 10
    work()
    row = FailedJob.objects.get(uuid=id)
    assert row.exception_class == "djqueue.errors.Undecryptable"
    assert "SECRET_KEY_FALLBACKS" in row.exception_message
    assert seen(ledger) == []
    # failed() has what can be read.
    assert seen(ledger, "failed") == [{**CARRIED, "secret": False}]
    settings.SECRET_KEY_FALLBACKS = [secret]
    assert retry().moved == 1
    work()
    assert seen(ledger) == [CARRIED]
    assert find(id).status == "unknown"


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_commands_show_the_values_without_the_hidden_ones(ledger, json_flag):
    with carried(), context.scope(password="hunter2"):
        id = carries.dispatch().id
    out = StringIO()
    call_command("queue_show", id, *json_flag, stdout=out)
    token = json.loads(context_text(queues[None].peek()[0].payload))["hidden"]
    for text in (SECRET, "hunter2", token):
        assert text not in out.getvalue()
    assert "ja" in out.getvalue()
    assert '"a": 1' in out.getvalue()


def test_nothing_that_people_see_has_a_hidden_value(ledger, admin_client, caplog):
    with carried():
        waiting = carries.dispatch()
        Carries().using(queue="other").dispatch()
    with start_worker("--stop-when-empty", "--queue", "other", "--json") as worker:
        assert worker.wait(30) == 0
        output = worker.output
    row = FailedJob.objects.get()
    pages = [
        admin_client.get("/admin/djqueue/queuedjob/", follow=True),
        admin_client.get(f"/admin/djqueue/failedjob/{row.pk}/change/", follow=True),
    ]
    out = StringIO()
    for command in (["queue_jobs"], ["queue_failed"], ["queue_show", str(row.uuid)]):
        call_command(*command, stdout=out)
    texts = [
        *(page.content.decode() for page in pages),
        output,
        caplog.text,
        out.getvalue(),
        repr(waiting),
        repr(queues[None].peek()),
        repr(FailedJob.objects.values().get()),
        repr(decode(row.payload)),
    ]
    assert [page.status_code for page in pages] == [200, 200]
    assert "&quot;a&quot;: 1" in texts[1]
    assert not [text for text in texts if SECRET in text]


def test_the_filter_adds_the_job_and_its_context_to_records(ledger, tmp_path):
    file = tmp_path / "log.txt"
    line = "%(levelname)s %(job_id)s %(job_name)s %(attempt)s [%(batch)s] %(context)s"
    logged = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"job": {"()": "djqueue.context.JobFilter"}},
        "formatters": {"line": {"format": line}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(file),
                "filters": ["job"],
                "formatter": "line",
            }
        },
        "loggers": {"djqueue.jobs": {"handlers": ["file"]}},
    }
    with context.scope(a=1, hidden={"token": SECRET}):
        id = Carries().dispatch().id
    with start_worker("--stop-when-empty", overrides={"LOGGING": logged}) as worker:
        assert worker.wait(30) == 0
    assert f"ERROR {id} app.Carries 1 [] {{'a': 1}}" in file.read_text()
    assert SECRET not in file.read_text()


# -- the text --------------------------------------------------------------------------------------


HEAD = encode_head("app.thing", Limits(tries=3))


@pytest.mark.parametrize("more", [{}, {"retry_until": 5.0}, {"tags": ["x"]}])
def test_the_context_is_found_in_the_text(more):
    kept = {"values": {"x": ',"context":{"no":1}'}}
    text = encode(HEAD, "1", 1.0, {}, encode_more(context=kept, **more))
    assert json.loads(context_text(text)) == kept == decode(text).context


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        encode(HEAD, "1", 1.0, {"a": 1, "context": {"b": 1}}),
        encode(HEAD, "1", 1.0, {"context": {"b": 1}}),
        encode(HEAD, "1", 1.0, {}, encode_more(tags=[',"context":{}'])),
        f'{HEAD},"id":"1","sent":1.0,"context":{{"a":',
        f'{HEAD},"id":"1","sent":1.0,"context":[1]}}',
        f'{HEAD},"id"',
        f'{HEAD},"id":',
    ],
)
def test_no_context_is_found_where_there_is_none(text):
    assert context_text(text) == ""


def test_a_context_of_another_kind_is_a_damaged_payload():
    text = encode(HEAD, "1", 1.0, {}, encode_more(context=[1]))
    with pytest.raises(InvalidPayload):
        decode(text)


def test_a_retry_with_a_limit_in_time_keeps_the_place_of_the_context():
    from djqueue.operations.verbs.retried_job import with_retry_until

    kept = {"values": {"a": 1}}
    text = encode(HEAD, "1", 1.0, {}, encode_more(context=kept, retry_until=time.time()))
    assert json.loads(context_text(with_retry_until(text, 5.0))) == kept
    assert decode(with_retry_until(text, 5.0)).retry_until == 5.0


def test_it_can_be_imported_before_django_is_set_up():
    done = subprocess.run(
        [sys.executable, "-c", "import djqueue.context, djqueue.compat"],
        cwd=ROOT,
        env={k: v for k, v in environment().items() if k != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
