"""Arguments too large for their queue: where they are kept, and for how long."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djqueue import dispatch_many, dispatch_sync, queues
from djqueue.dispatch.large import seconds_until_check
from djqueue.drivers.base import Capabilities, Reservation
from djqueue.errors import (
    ConfigurationError,
    InvalidPayload,
    NotSerializable,
    QueueError,
    QueueUnavailable,
)
from djqueue.finish import failed
from djqueue.models import FailedJob, Outbox, Payload, QueuedJob, Run
from djqueue.operations import failed_jobs, payload_pruning
from djqueue.operations.describe import show
from djqueue.operations.payload_pruning import prune_payloads
from djqueue.operations.retrying import How, RetryStopped, retry
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.payload.packing import is_stored, pack
from djqueue.runner.rules import Rules
from djqueue.testing import fake_queue, work
from tests.dispatch.conftest import DJQUEUE
from tests.dispatch.jobs import Fail, Write, ran
from tests.dispatch.memory import MemoryDriver
from tests.runner.test_runner import run_held

pytestmark = pytest.mark.django_db(databases=["default", "queue"])

LARGE = "x" * 20_000
NOISE = "".join(str(uuid4()) for _ in range(1000))  # 36,000 characters that do not become few


class LargeFail(Fail, name="test.bus.LargeFail"):
    """A job that fails with a large argument."""

    text: str


class Renaming(InMemoryStorage):
    """Adds something to every name."""

    def get_available_name(self, name, max_length=None):
        return f"{name}_1"


class Broken(InMemoryStorage):
    """A storage that cannot be reached."""

    def _broken(self, *args, **kwargs):
        raise ConnectionResetError("no route to bucket")

    save = open = delete = _broken


def storage(backend):
    return {
        **storages.backends,
        "jobs": {"BACKEND": f"tests.dispatch.test_payload_store.{backend}"},
    }


@pytest.fixture
def small(change):
    """The database connection moves what is above 1,000 bytes."""
    return lambda **more: change(CONNECTIONS=_connections(), **more)


def _connections():
    database = {**DJQUEUE["CONNECTIONS"]["database"], "COMPRESS_ABOVE": None, "STORE_ABOVE": 1000}
    apart = {**DJQUEUE["CONNECTIONS"]["apart"], "STORE_ABOVE": 1000, "COMPRESS_ABOVE": None}
    known = {**DJQUEUE["CONNECTIONS"], "database": database, "apart": apart}
    del known["down"]
    return known


@pytest.fixture
def files(small):
    """Large arguments are files."""
    backend = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    with override_settings(STORAGES={**storages.backends, "jobs": backend}):
        small(PAYLOADS={"STORAGE": "jobs"})
        yield storages["jobs"]


def write(text, **using):
    return Write(text).using(connection="database", **using)


def only(rows):
    [row] = rows
    return row


# -- dispatching -----------------------------------------------------------------------------------


def test_a_small_payload_is_as_it_was(memory, django_assert_num_queries):
    Write("y" * 3_000).dispatch()
    assert payload.decode(only(memory).payload).arguments == {"text": "y" * 3_000}
    with django_assert_num_queries(1):
        write("y").dispatch()


def test_a_large_payload_is_compressed_and_what_is_before_it_stays_readable(memory):
    job = Write(LARGE).using(tags=["a"], tries=7)
    job.dispatch()
    text = only(memory).payload
    assert len(text) < 600
    assert text.isascii()
    assert payload.known_head(text).head.limits.tries == 7
    assert payload.decode(text).tags == ("a",)
    assert not Payload.objects.exists()


@pytest.mark.parametrize("off", [None, 0])
def test_compression_can_be_switched_off(change, off):
    database = {**DJQUEUE["CONNECTIONS"]["database"], "COMPRESS_ABOVE": off}
    change(CONNECTIONS={**DJQUEUE["CONNECTIONS"], "database": database})
    write(LARGE).dispatch()
    assert LARGE in QueuedJob.objects.get().payload


def test_what_the_driver_cannot_take_is_put_aside(memory):
    Write(NOISE).dispatch()
    outgoing = only(memory)
    assert is_stored(outgoing.payload)
    assert len(outgoing.payload) < 400
    row = Payload.objects.get()
    assert str(row.uuid) == outgoing.id
    assert row.connection == "memory"
    assert payload_store.unpacked(payload.decode(outgoing.payload)).arguments == {"text": NOISE}


def test_a_connection_may_put_aside_more_than_it_has_to(small):
    small()
    write(LARGE).dispatch()
    assert is_stored(QueuedJob.objects.get().payload)


def test_without_a_store_the_largest_argument_is_named(change):
    change(PAYLOADS=None)
    Write(LARGE).dispatch()  # fits once it is compressed
    with pytest.raises(NotSerializable) as caught:
        Write(NOISE).dispatch()
    assert 'The largest, "text", has 36,002 bytes.' in str(caught.value)
    assert "takes at most 10,000" in str(caught.value)
    assert 'DJQUEUE["PAYLOADS"]' in str(caught.value)


def test_more_than_the_worker_would_read_is_refused_at_the_dispatch(change):
    change(PAYLOADS={"MAX_SIZE": 15_000})
    with pytest.raises(NotSerializable, match=r'is 15,000\. The largest, "text"'):
        Write(LARGE).dispatch()
    with pytest.raises(NotSerializable), fake_queue():
        Write(LARGE).dispatch()


def test_nothing_is_put_aside_for_what_runs_here_or_is_only_recorded(small):
    small()
    assert write(NOISE).using(connection="sync").dispatch()
    assert dispatch_sync(write(NOISE)) == NOISE.upper()
    Write(NOISE).using(connection="null").dispatch()
    with fake_queue() as fake:
        write(NOISE).dispatch()
        dispatch_many([write(NOISE)])
        assert fake.run() == 2
    assert ran == [NOISE] * 4
    assert not Payload.objects.exists()


def test_many_at_once_are_put_aside_in_statements_of_bounded_size(small, monkeypatch):
    small()
    monkeypatch.setattr(payload_store, "_BYTES_AT_ONCE", 50_000)
    jobs = [write("a"), *[write(NOISE) for _ in range(3)], write("b")]
    with CaptureQueriesContext(connection) as queries:
        assert dispatch_many(jobs) == 5
    assert len([query for query in queries if "djqueue_payloads" in query["sql"]]) == 3
    assert Payload.objects.count() == 3
    assert work("database") == 5
    assert ran == ["a", NOISE, NOISE, NOISE, "b"]


# -- running ---------------------------------------------------------------------------------------


def test_the_job_gets_its_arguments_and_leaves_nothing(small):
    small()
    write(LARGE).dispatch()
    assert work("database", raise_errors=True) == 1
    assert ran == [LARGE]
    assert not Payload.objects.exists()


def test_files_have_the_arguments_and_are_removed(files):
    id = write(LARGE).dispatch().id
    assert Payload.objects.get().body is None
    assert files.exists(f"djqueue-payloads/{id[-2:]}/{id}")
    assert work("database", raise_errors=True) == 1
    assert ran == [LARGE]
    assert not files.exists(f"djqueue-payloads/{id[-2:]}/{id}")
    assert not Payload.objects.exists()


def test_what_was_stored_before_there_was_a_storage_is_still_found(small, change):
    small()
    write(LARGE).dispatch()
    backend = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    with override_settings(STORAGES={**storages.backends, "jobs": backend}):
        small(PAYLOADS={"STORAGE": "jobs"})
        work("database", raise_errors=True)
    assert ran == [LARGE]


def test_a_storage_that_changes_names_is_refused(small):
    with override_settings(STORAGES=storage("Renaming")):
        small(PAYLOADS={"STORAGE": "jobs"})
        with pytest.raises(ConfigurationError, match="under another name"):
            write(LARGE).dispatch()


def reserve():
    return only(queues["database"].driver.session().exchange((), ["default"], 1).reservations)


def test_a_storage_that_is_away_costs_no_attempt(files):
    write(LARGE).dispatch()
    reservation = reserve()
    with override_settings(STORAGES=storage("Broken")):
        outcome = run_held(reservation, Rules(unknown_grace=600)).outcome
        assert outcome.decision.action.value == "retry"
        assert not outcome.charged
        later = reservation._replace(history=outcome.history)
        outcome = run_held(later, Rules(unknown_grace=0)).outcome
        assert outcome.decision.action.value == "fail"
        assert "no route to bucket" in outcome.error.message
        with pytest.raises(QueueUnavailable, match="no route to bucket"):
            write(LARGE).dispatch()


# -- transactions ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, databases=["default", "queue"])
def test_a_rollback_takes_the_arguments_along(small):
    small()
    with transaction.atomic():
        write(LARGE).dispatch()
        assert Payload.objects.exists()
        transaction.set_rollback(True)
    assert not Payload.objects.exists()


@pytest.mark.django_db(transaction=True, databases=["default", "queue"])
def test_a_job_that_waits_for_the_commit_does_not_keep_its_arguments_in_memory(memory):
    with transaction.atomic():
        dispatched = Write(NOISE).dispatch()
        [waiting] = dispatched._deferred.jobs.values()
        assert waiting.body is None
        assert Payload.objects.exists()
        assert not memory
    assert len(memory) == 1


@pytest.mark.django_db(transaction=True, databases=["default", "queue"])
def test_a_job_must_not_be_published_before_its_arguments(memory, change):
    with transaction.atomic(), pytest.raises(QueueError, match="before a worker can read them"):
        Write(NOISE).using(after_commit=False).dispatch()
    assert not memory
    with transaction.atomic("queue"):
        Write(NOISE).using(after_commit=False).dispatch()
    assert len(memory) == 1


# -- failed jobs -----------------------------------------------------------------------------------


def fail():
    id = LargeFail(LARGE).using(connection="database").dispatch().id
    work("database")
    return id


def test_a_failed_job_keeps_its_arguments_until_it_is_done(small, monkeypatch):
    small()
    id = fail()
    assert is_stored(FailedJob.objects.get(uuid=id).payload)
    assert Payload.objects.filter(uuid=id).exists()
    assert show(id)["arguments"] == {"text": LARGE}
    assert retry().moved == 1
    monkeypatch.setattr(LargeFail, "handle", lambda self: ran.append(self.text))
    work("database", raise_errors=True)
    assert ran[-1] == LARGE
    assert not Payload.objects.exists()


def test_forgetting_a_failed_job_forgets_its_arguments(small):
    small()
    fail()
    other = fail()
    assert failed_jobs.forget(failed_jobs.Selection(ids=(other,))) == 1
    assert Payload.objects.count() == 1
    assert failed_jobs.forget() == 1
    assert not Payload.objects.exists()


def test_a_failed_row_that_was_one_too_many_leaves_the_arguments(small):
    small()
    row = FailedJob.objects.get(uuid=fail())
    assert failed.take_back({str(row.uuid): row.reservation}) == 1
    assert Payload.objects.count() == 1


def test_without_failed_rows_nothing_is_left_once_the_job_was_told(small):
    small(FAILED_JOBS=None)
    fail()
    assert str(ran[-1]) == "it failed"
    assert not Payload.objects.exists()


# -- hostile and damaged ---------------------------------------------------------------------------


def run(text, id):
    reservation = Reservation(id, "default", "test.bus.Write", text, 1, 0, "", None)
    return run_held(reservation, Rules(unknown_grace=0)).outcome.error


def packed(id, arguments=None):
    head = payload.encode_head("test.bus.Write", payload.Limits())
    return pack(payload.encode(head, id, 1.0, arguments or {"text": LARGE}), None, 1)


@pytest.mark.parametrize(
    "id",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "default",
        "",
        "{0197a000-0000-7000-8000-000000000001}",
        "urn:uuid:0197a000-0000-7000-8000-000000000001",
        "0197A000-0000-7000-8000-000000000001",
        "0197a000-0000-7000-8000-000000000001\n",
        "0197a000-0000-7000-8000-000000000001/../x",
    ],
)
def test_an_id_that_is_no_uuid_names_nothing(files, id):
    files.save("etc/passwd", ContentFile(b"root"))
    text = packed("ID").text.replace('"ID"', json.dumps(id))
    assert "is not a UUID" in run(text, id).message
    payload_store.remove([id])  # and is never a path here either


def test_a_payload_cannot_ask_for_the_arguments_of_another_job(small):
    small()
    write("secret " * 1000).dispatch()
    mine, theirs = str(uuid4()), str(Payload.objects.get().uuid)
    reference = packed(mine).text
    # Another id in the payload than that of the job it came as:
    assert "belongs to job" in run(reference.replace(mine, theirs), mine).message
    # The same id, without knowing what is stored there:
    assert "not what it was dispatched with" in run(packed(theirs).text, theirs).message
    # Its own id, with nothing there:
    assert "no longer in the payload store" in run(reference, mine).message
    assert ran == []


def test_data_that_was_changed_is_refused(small):
    small()
    id = write(LARGE).dispatch().id
    Payload.objects.update(body=zlib.compress(json.dumps({"text": "mine"}).encode()))
    assert "not what it was dispatched with" in run(QueuedJob.objects.get().payload, id).message


def test_a_bomb_is_refused_wherever_it_is(small):
    id = str(uuid4())
    bomb = packed(id, {"text": "x" * 5_000_000})
    small(PAYLOADS={"MAX_SIZE": 1_000_000})
    payload_store.write("database", [payload_store.Entry(id, bomb.body)])
    assert "inflate to more than 1,000,000 bytes" in run(bomb.text, id).message
    inside = pack(
        payload.encode(
            payload.encode_head("test.bus.Write", payload.Limits()),
            id,
            1.0,
            {"text": "x" * 5_000_000},
        ),
        1,
        None,
    )
    assert "inflate to more than 1,000,000 bytes" in run(inside.text, id).message


def test_a_way_of_packing_that_is_unknown_is_refused():
    id = str(uuid4())
    text = packed(id).text.replace('"stored"', '"lzma"')
    assert "packed in an unknown way: 'lzma'" in run(text, id).message


def test_the_store_is_switched_off_where_the_worker_runs(small):
    small(PAYLOADS=None)
    id = str(uuid4())
    assert '["PAYLOADS"] is None here' in run(packed(id).text, id).message
    payload_store.remove([id])
    with pytest.raises(ConfigurationError):
        payload_store.write("database", [])


# -- showing ---------------------------------------------------------------------------------------


def test_arguments_are_shown_unpacked_and_masked(small):
    small()
    id = write(LARGE).dispatch().id
    assert show(id)["arguments"] == {"text": LARGE}


def test_very_large_arguments_are_not_shown(small):
    small()
    id = write("x" * 2_000_000).dispatch().id
    found = show(id)
    assert found["arguments"] == {}
    assert "longer than 1,048,576 bytes" in found["damaged"]
    Payload.objects.all().delete()
    assert "no longer in the payload store" in show(id)["damaged"]


# -- pruning ---------------------------------------------------------------------------------------


def age(**by):
    Payload.objects.update(check_at=timezone.now() - timedelta(**by))


def test_what_is_young_is_left_alone(small):
    small()
    payload_store.write("database", [payload_store.Entry(str(uuid4()), b"")])
    assert prune_payloads() == 0
    age(minutes=1)
    assert prune_payloads() == 1


def test_the_age_counts_from_when_a_job_is_due(small):
    small()
    write(LARGE, delay=timedelta(days=30)).dispatch()
    assert Payload.objects.get().check_at > timezone.now() + timedelta(days=30)


def test_what_has_a_job_or_a_failed_row_is_needed(small):
    small()
    queued = write(LARGE).dispatch().id
    given_up = LargeFail(LARGE).using(connection="database", queue="f").dispatch().id
    work("database", queue="f")
    parked, orphan = str(uuid4()), str(uuid4())
    now = timezone.now()
    Outbox.objects.create(
        connection="database",
        queue="q",
        uuid=parked,
        name="n",
        payload="",
        due_at=now,
        created_at=now,
    )
    entries = [payload_store.Entry(id, b"") for id in (parked, orphan)]
    payload_store.write("database", entries)
    age(minutes=1)
    assert prune_payloads() == 1
    assert {str(row.uuid) for row in Payload.objects.all()} == {queued, given_up, parked}
    assert all(row.check_at > timezone.now() for row in Payload.objects.all())


def test_many_orphans_go_in_slices(small, monkeypatch):
    small()
    monkeypatch.setattr(payload_pruning, "SLICE", 3)
    entries = [payload_store.Entry(str(uuid4()), b"") for _ in range(10)]
    payload_store.write("database", entries)
    payload_store.write("memory", entries[:0])
    age(minutes=1)
    assert prune_payloads(budget=-1) == 3
    assert prune_payloads() == 7


def test_a_connection_that_cannot_be_asked_keeps_them_for_longer(monkeypatch):
    monkeypatch.setattr(
        MemoryDriver, "capabilities", Capabilities({"find": "no"}, max_payload=10_000)
    )
    Write(NOISE).dispatch()
    row = Payload.objects.get()
    assert row.check_at > timezone.now() + timedelta(days=14)
    age(minutes=1)
    assert prune_payloads() == 1


def test_where_a_job_may_wait_for_ever_they_are_kept_for_three_months(settings):
    """Whatever the age of others: nobody can ask beanstalkd whether it still has the job."""
    members = {"first": {"DRIVER": "beanstalkd"}, "second": {"DRIVER": "database"}}
    pair = {"DRIVER": "failover", "CONNECTIONS": ["first", "second"]}
    settings.DJQUEUE = {
        "DEFAULT": "second",
        "CONNECTIONS": {**members, "pair": pair},
        "PRUNE_AFTER": {"PAYLOADS": 3600},
    }
    for name in ("first", "pair"):
        assert seconds_until_check(name) == 92 * 86400
    assert seconds_until_check("second") == payload_store.CHECK_AFTER


def test_a_job_that_was_begun_and_is_not_over_keeps_them_where_its_store_cannot_be_asked(
    monkeypatch,
):
    monkeypatch.setattr(
        MemoryDriver, "capabilities", Capabilities({"find": "no"}, max_payload=10_000)
    )
    id = Write(NOISE).dispatch().id
    Run.objects.create(uuid=id, updated_at=timezone.now())
    age(minutes=1)
    assert prune_payloads() == 0
    assert Payload.objects.get().check_at > timezone.now() + timedelta(days=14)
    Run.objects.update(ended=True)
    age(minutes=1)
    assert prune_payloads() == 1


def test_nothing_is_pruned_while_a_connection_that_may_have_the_job_is_down(small, change):
    small()
    for name in ("memory", "database"):
        payload_store.write(name, [payload_store.Entry(str(uuid4()), b"")])
    age(minutes=1)
    down = DJQUEUE["CONNECTIONS"]["down"]
    for broken in (down, {**down, "DRIVER": "djqueue.nowhere.Driver"}):
        change(CONNECTIONS={**_connections(), "down": broken})
        assert prune_payloads() == 0
    small()
    assert prune_payloads() == 2


@pytest.mark.parametrize("place", ["memory", "apart"])
def test_a_job_is_looked_for_on_every_connection(small, place):
    """A move that broke off leaves a row that names the wrong one."""
    small()
    write(NOISE).using(connection=place).dispatch()
    Payload.objects.update(connection="database")
    age(minutes=1)
    assert prune_payloads() == 0


@pytest.mark.parametrize("place", ["memory", "apart", "database"])
def test_a_process_that_dies_right_after_a_retry_elsewhere_loses_no_arguments(small, place):
    small()
    before = "apart" if place == "database" else "database"
    LargeFail(LARGE).using(connection=before, queue="f").dispatch()
    work(before, queue="f")

    def die(keys):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(on_moved=die, how=How(connection=place, queue="g"))
    assert not FailedJob.objects.exists()
    assert Payload.objects.get().connection == place


def test_a_retry_that_another_store_did_not_take_leaves_the_arguments_where_they_were(small):
    small()
    LargeFail(LARGE).using(connection="database", queue="f").dispatch()
    work("database", queue="f")
    with pytest.raises(RetryStopped):
        retry(how=How(connection="memory", queue="down"))
    assert Payload.objects.get().connection == "database"


def test_another_projects_entries_are_left_to_it_for_some_time(small):
    small()
    payload_store.write("theirs", [payload_store.Entry(str(uuid4()), b"")])
    age(days=14)
    assert prune_payloads() == 0
    age(days=16)
    assert prune_payloads() == 1


def test_pruning_can_be_switched_off(small):
    payload_store.write("database", [payload_store.Entry(str(uuid4()), b"")])
    age(days=100)
    small(PRUNE_AFTER={"PAYLOADS": None})
    assert prune_payloads() == 0


def test_a_file_without_a_row_is_found_by_its_age(files, monkeypatch):
    monkeypatch.setattr(payload_pruning, "SHARDS", 256)
    kept = write(LARGE).dispatch().id
    stray = write(LARGE).dispatch().id
    Payload.objects.filter(uuid=stray).delete()
    QueuedJob.objects.filter(uuid=stray).delete()
    files.save(f"djqueue-payloads/{stray[-2:]}/somebody-elses", ContentFile(b""))
    assert prune_payloads() == 0
    old = timezone.now() - timedelta(days=16)
    monkeypatch.setattr(InMemoryStorage, "get_modified_time", lambda self, name: old)
    assert prune_payloads() == 1
    assert not files.exists(f"djqueue-payloads/{stray[-2:]}/{stray}")
    assert files.exists(f"djqueue-payloads/{kept[-2:]}/{kept}")
    assert files.exists(f"djqueue-payloads/{stray[-2:]}/somebody-elses")


def test_a_payload_that_is_gone_is_an_invalid_payload():
    with pytest.raises(InvalidPayload, match="no longer in the payload store"):
        payload_store.read(str(uuid4()), "")
