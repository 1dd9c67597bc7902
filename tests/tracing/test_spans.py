"""A dispatch leaves a span, each attempt another one, and the payload binds them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from django.db import transaction
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from djqueue import batch, chain, current_job, dispatch_many, dispatch_sync, job
from djqueue.checks import errors
from djqueue.errors import InvalidJob, UnknownConnection
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload.encryption import is_trace_id
from djqueue.runner.decision import Ending, decide
from djqueue.runner.outcome import Outcome
from djqueue.runner.runner import Runner
from djqueue.testing import work
from djqueue.tracing.tracing import tracing
from tests.app import jobs, secret
from tests.encryption.seen import MARK, reveals
from tests.support import environment, start_worker, wait_until
from tests.worker.stores import connection_to

pytestmark = pytest.mark.anywhere

CHAINED = ["send default", *["process default"] * 2]


@pytest.fixture(scope="session")
def exporter():
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace.set_tracer_provider(provider)
    return found


@pytest.fixture
def spans(exporter, settings):
    """Return the spans that have ended, by their names."""
    settings.DJQUEUE = {**getattr(settings, "DJQUEUE", {}), "OPENTELEMETRY": "link"}
    exporter.clear()
    return lambda name=None: [
        span for span in exporter.get_finished_spans() if name in (None, span.name)
    ]


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.redis)])
def store(request, settings, transactional_db):
    """A connection that is the default one."""
    made = {"DRIVER": "database"}
    if request.param != "database":
        made = connection_to(request.param, request)
    settings.DJQUEUE = {"DEFAULT": "store", "CONNECTIONS": {"store": made}}
    return request.param


@pytest.fixture
def database(settings, transactional_db):
    settings.DJQUEUE = {}


SYSTEM = {"database": "djqueue", "redis": "redis"}


def test_an_attempt_is_linked_to_its_dispatch(store, spans):
    dispatched = jobs.nothing.using(queue="mail").dispatch()
    assert work() == 1
    (sent,), (processed,) = spans("send mail"), spans("process mail")
    assert sent.kind is SpanKind.PRODUCER
    assert processed.kind is SpanKind.CONSUMER
    assert processed.parent is None
    assert processed.context.trace_id != sent.context.trace_id
    (link,) = processed.links
    assert (link.context.trace_id, link.context.span_id) == (
        sent.context.trace_id,
        sent.context.span_id,
    )
    assert dict(sent.attributes) == {
        "messaging.system": SYSTEM[store],
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": dispatched.id,
        "djqueue.connection": "store",
        "djqueue.job": "app.nothing",
    }
    size = processed.attributes["messaging.message.body.size"]
    assert dict(processed.attributes) == {
        **sent.attributes,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.body.size": size,
        "djqueue.attempt": 1,
        "djqueue.outcome": "done",
    }
    assert size > 100
    assert processed.status.status_code is StatusCode.UNSET


def test_the_dispatch_may_be_the_parent(store, spans, settings):
    settings.DJQUEUE = {**settings.DJQUEUE, "OPENTELEMETRY": "parent"}
    jobs.nothing.dispatch()
    work()
    (sent,), (processed,) = spans("send default"), spans("process default")
    assert processed.parent.span_id == sent.context.span_id
    assert processed.context.trace_id == sent.context.trace_id
    assert not processed.links


def test_each_attempt_has_a_span_with_its_error(store, spans):
    jobs.boom_thrice.dispatch()
    assert work(delayed=True) == 3
    attempts = spans("process default")
    assert [span.attributes["djqueue.attempt"] for span in attempts] == [1, 2, 3]
    outcomes = [span.attributes["djqueue.outcome"] for span in attempts]
    assert outcomes == ["released", "released", "failed"]
    assert len({span.links[0].context.span_id for span in attempts}) == 1
    for span in attempts:
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ValueError: boom"
        assert span.attributes["error.type"] == "ValueError"
        (event,) = span.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "ValueError"
        assert "raise ValueError" in event.attributes["exception.stacktrace"]


def test_secrets_in_an_error_are_masked(database, spans):
    jobs.boom.dispatch("password=hunter2")
    work()
    (span,) = spans("process default")
    assert "hunter2" not in json.dumps([dict(event.attributes) for event in span.events])
    assert "hunter2" not in span.status.description


def test_what_runs_in_a_job_is_below_its_span(database, spans, own_jobs):
    @job(name="app.dispatches")
    def dispatches():
        with trace.get_tracer("shop").start_as_current_span("own"):
            pass
        jobs.nothing.using(queue="inner").dispatch()

    dispatches.dispatch()
    assert work() == 2
    (outer,) = spans("process default")
    for name in ("own", "send inner"):
        (span,) = spans(name)
        assert span.parent.span_id == outer.context.span_id


def test_the_span_of_a_dispatch_is_below_the_present_one(database, spans):
    with trace.get_tracer("shop").start_as_current_span("request") as request:
        jobs.nothing.dispatch()
    (sent,) = spans("send default")
    assert sent.parent.span_id == request.get_span_context().span_id


@pytest.mark.parametrize("mode", ["link", "parent"])
def test_baggage_reaches_the_job(database, spans, settings, own_jobs, mode):
    settings.DJQUEUE = {"OPENTELEMETRY": mode}
    found = []

    @job(name="app.reads_baggage")
    def reads_baggage():
        found.append(baggage.get_baggage("tenant"))

    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        reads_baggage.dispatch()
    finally:
        context.detach(token)
    work()
    assert found == ["acme"]
    assert baggage.get_baggage("tenant") is None


def test_the_steps_of_a_chain_are_linked_to_its_dispatch(store, spans):
    chain([jobs.nothing.bind(), jobs.nothing.bind()]).dispatch()
    assert work() == 2
    (sent,) = spans("send default")
    assert sent.attributes["djqueue.steps"] == 2
    assert sent.attributes["djqueue.chain"]
    attempts = spans("process default")
    assert [span.links[0].context.span_id for span in attempts] == [sent.context.span_id] * 2
    assert [span.name for span in spans()] == CHAINED


def test_the_members_of_a_batch_are_linked_to_its_dispatch(store, spans):
    made = batch([jobs.nothing.bind() for _ in range(3)], on_success=jobs.nothing.bind()).dispatch()
    assert work() == 4
    (sent,) = spans("send")
    assert sent.attributes["messaging.batch.message_count"] == 3
    assert sent.attributes["djqueue.batch"] == made.id
    assert {span.links[0].context.span_id for span in spans("process default")} == {
        sent.context.span_id
    }
    batch([jobs.nothing.bind()]).dispatch().add([jobs.nothing.bind()] * 2)
    assert spans("send")[-1].attributes["messaging.batch.message_count"] == 2


def test_many_jobs_are_one_span(store, spans):
    assert dispatch_many(jobs.nothing.bind() for _ in range(5)) == 5
    (sent,) = spans("send")
    assert sent.attributes["messaging.batch.message_count"] == 5
    work()
    assert {span.links[0].context.span_id for span in spans("process default")} == {
        sent.context.span_id
    }


def test_a_job_that_runs_here_is_below_its_dispatch(database, spans):
    jobs.nothing.using(connection="sync").dispatch()
    (sent,), (processed,) = spans("send default"), spans("process default")
    assert processed.parent.span_id == sent.context.span_id
    assert not processed.links
    dispatch_sync(jobs.nothing.bind())
    assert spans()[-1].name == "process default"


def test_a_dispatch_that_fails_says_why(database, spans):
    with transaction.atomic(), pytest.raises(RuntimeError, match="no more"):
        dispatch_many(_breaks_off())
    (sent,) = spans("send")
    assert sent.status.description == "RuntimeError: no more"
    assert sent.attributes["error.type"] == "RuntimeError"
    with pytest.raises(UnknownConnection):
        jobs.nothing.using(connection="nowhere").dispatch()


def _breaks_off():
    yield jobs.nothing.bind()
    raise RuntimeError("no more")


def test_released_and_deleted_jobs_are_no_errors(database, spans, own_jobs):
    @job(name="app.ends_itself")
    def ends_itself():
        ask = current_job()
        ask.release() if ask.attempt == 1 else ask.delete()

    ends_itself.using(tries=2).dispatch()
    assert work() == 2
    found = spans("process default")
    assert [span.attributes["djqueue.outcome"] for span in found] == ["released", "deleted"]
    assert {span.status.status_code for span in found} == {StatusCode.UNSET}


@pytest.mark.parametrize(
    "trace_of", ["", [], {"traceparent": 7}, {"traceparent": "x" * 9000}, {"traceparent": "00-0"}]
)
def test_a_damaged_trace_is_none(database, spans, trace_of):
    jobs.nothing.dispatch()
    row = QueuedJob.objects.get()
    data = json.loads(row.payload)
    data["context"]["trace"] = trace_of
    row.payload = json.dumps(data, separators=(",", ":"))
    row.save()
    assert work() == 1
    (span,) = spans("process default")
    assert span.attributes["djqueue.outcome"] == "done"
    assert not span.links


class Broken:
    """A processor that raises."""

    def on_start(self, span, parent_context=None):
        raise RuntimeError("on_start")

    def on_end(self, span):
        raise RuntimeError("on_end")

    _on_ending = on_end


@pytest.mark.parametrize("broken", ["on_start", "on_end"])
def test_what_breaks_in_a_processor_harms_no_job(database, spans, monkeypatch, caplog, broken):
    processor = trace.get_tracer_provider()._active_span_processor
    monkeypatch.setattr(processor, broken, getattr(Broken(), broken))
    jobs.nothing.dispatch()
    assert work() == 1
    assert not FailedJob.objects.exists()
    assert "RuntimeError" in caplog.text


@pytest.mark.scenario
def test_a_worker_exports_its_spans_before_it_ends(store, spans, tmp_path):
    jobs.nothing.dispatch()
    jobs.boom.dispatch()
    file = tmp_path / "spans"
    env = {"DJQUEUE_TEST_SPANS": str(file)}
    env["DJANGO_SETTINGS_MODULE"] = "tests.tracing.worker_settings"
    with start_worker("--stop-when-empty", **env) as worker:
        assert worker.wait() == 0
    found = [json.loads(line) for line in wait_until(file.read_text).splitlines()]
    assert sorted((each["outcome"], each["status"]) for each in found) == [
        ("done", "UNSET"),
        ("failed", "ERROR"),
    ]
    sent = {f"{span.context.trace_id:032x}" for span in spans("send default")}
    assert {trace_id for each in found for trace_id in each["links"]} == sent


def test_without_the_setting_there_are_no_spans(database, exporter):
    exporter.clear()
    jobs.nothing.dispatch()
    assert "context" not in json.loads(QueuedJob.objects.get().payload)
    work()
    assert not exporter.get_finished_spans()


NOT_LOADED = """
import django, sys
django.setup()
import djqueue.management.commands.queue_work, djqueue.worker.children.child
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_a_process_without_the_setting_loads_nothing(database):
    env = environment()
    subprocess.run([sys.executable, "-c", NOT_LOADED], env=env, check=True, timeout=60)


def test_a_missing_package_is_an_error_of_the_checks(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "djqueue.tracing.opentelemetry", None)
    settings.DJQUEUE = {"OPENTELEMETRY": "link"}
    assert tracing.tracer is None
    (error,) = errors()
    assert error.id == "djqueue.E006"
    assert 'pip install "djqueue[otel]"' in error.hint


def test_another_value_is_an_error_of_the_checks(settings):
    settings.DJQUEUE = {"OPENTELEMETRY": True}
    (error,) = errors()
    assert error.id == "djqueue.E003"
    assert "'link' or 'parent'" in error.msg


def test_the_traces_of_a_payload_are_w3c(database, spans):
    jobs.nothing.dispatch()
    (sent,) = spans("send default")
    kept = json.loads(QueuedJob.objects.get().payload)["context"]["trace"]
    trace_id, span_id = sent.context.trace_id, sent.context.span_id
    assert list(kept) == ["traceparent"]
    assert kept["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


def test_errors_of_dispatches_of_encrypted_jobs_are_in_no_span(database, spans, own_jobs):
    @job(name="spans.grouped", encrypted=True, message_group=lambda given: [MARK])
    def grouped(text):
        pass

    for dispatch in (dispatch_many, lambda jobs: batch(jobs).dispatch()):
        with pytest.raises(InvalidJob):
            dispatch([grouped.bind(MARK)])
    found = spans("send")
    assert len(found) == 2
    assert not reveals([span.to_json() for span in found])


@pytest.mark.parametrize(
    ("header", "has_ids"),
    [
        ("X-Amzn-Trace-Id", True),
        ("X-B3-TraceId", True),
        ("x-b3-sampled", True),
        ("traceparent", True),
        ("baggage", False),
        ("uberctx-who", False),
    ],
)
def test_headers_with_ids_alone_stay_readable(header, has_ids):
    assert is_trace_id(header) is has_ids


def test_large_baggage_does_not_travel(database, spans, caplog):
    around = context.get_current()
    for number in range(80):
        around = baggage.set_baggage(f"key{number}", "v" * 120, around)
    token = context.attach(around)
    try:
        jobs.nothing.dispatch()
    finally:
        context.detach(token)
    payload = QueuedJob.objects.get().payload
    assert len(payload) < 2_000
    assert "traceparent" in payload
    assert "its baggage is left out" in caplog.text


def test_spans_of_encrypted_jobs_have_no_value(database, spans):
    token = context.attach(baggage.set_baggage("who", MARK))
    try:
        sent = secret.FailsWithSecret(MARK).dispatch()
    finally:
        context.detach(token)
    assert not reveals(QueuedJob.objects.get().payload)
    work(delayed=True)
    with pytest.raises(ValueError, match=MARK):
        secret.FailsWithSecret(MARK).using(connection="sync").dispatch()
    with pytest.raises(ValueError, match=MARK):
        batch([secret.FailsWithSecret(MARK).using(connection="sync")]).dispatch()
    assert sent.status == "failed"
    found = spans()
    assert len(found) >= 5
    assert not reveals([span.to_json() for span in found])
    assert any(span.links for span in spans("process default"))  # ids of the trace are readable
    assert "ValueError: encrypted" in str([span.status.description for span in found])


def test_an_attempt_that_was_rolled_back_for_another_worker_is_lost(database, spans, monkeypatch):
    lost = Outcome(Ending.LOST, decide(Ending.LOST))
    monkeypatch.setattr(Runner, "_run", lambda runner, attempt: lost)
    jobs.nothing.dispatch()
    work(max_jobs=1)
    (span,) = spans("process default")
    assert span.attributes["djqueue.outcome"] == "lost"
