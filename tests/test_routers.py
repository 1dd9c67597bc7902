"""djqueue's tables in a database of their own."""

from __future__ import annotations

import pytest
from django.db import router
from django.test import override_settings

from djqueue.models import FailedJob, JobBatch, QueuedJob, Worker
from tests.app.models import Note

ROUTER = override_settings(DATABASE_ROUTERS=["djqueue.routers.QueueRouter"])
QUEUE = override_settings(
    DJQUEUE={"CONNECTIONS": {"database": {"DRIVER": "database", "DATABASE": "queue"}}}
)


@pytest.fixture(autouse=True)
def routed():
    with ROUTER, QUEUE:
        yield


def test_queries_go_where_the_rows_are():
    assert router.db_for_read(QueuedJob) == "queue"
    assert router.db_for_write(QueuedJob) == "queue"
    assert router.db_for_read(Worker) == "queue"
    assert router.db_for_read(FailedJob) == "default"
    assert router.db_for_read(JobBatch) == "default"


def test_each_store_of_its_own_is_followed():
    with override_settings(
        DJQUEUE={"FAILED_JOBS": {"DATABASE": "other"}, "BATCHES": {"DATABASE": "queue"}}
    ):
        assert router.db_for_read(QueuedJob) == "default"
        assert router.db_for_read(FailedJob) == "other"
        assert router.db_for_read(JobBatch) == "queue"


def test_failed_jobs_switched_off_are_looked_for_beside_the_jobs():
    with override_settings(DJQUEUE={"FAILED_JOBS": None}):
        assert router.db_for_read(FailedJob) == "default"


def test_an_instance_stays_in_the_database_it_came_from():
    job = QueuedJob()
    job._state.db = "other"
    assert router.db_for_write(QueuedJob, instance=job) == "other"
    assert router.db_for_write(QueuedJob, instance=Note()) == "queue"


def test_tables_are_made_in_every_database_that_is_named_and_in_no_other():
    assert router.allow_migrate("queue", "djqueue")
    assert router.allow_migrate("default", "djqueue")
    assert not router.allow_migrate("other", "djqueue")


def test_other_apps_are_no_concern_of_it():
    assert router.db_for_read(Note) == "default"
    assert router.allow_migrate("other", "app")
    assert router.allow_migrate("queue", "app")


def test_relations_stay_within_one_database():
    one, other, note = QueuedJob(), QueuedJob(), Note()
    for instance, alias in ((one, "queue"), (other, "default"), (note, "queue")):
        instance._state.db = alias
    assert not router.allow_relation(one, other)
    assert router.allow_relation(one, one)
    assert router.allow_relation(one, note)  # Django's own rule: the same database


@pytest.mark.django_db(databases=["default", "queue"])
def test_a_row_that_is_made_without_using_is_in_the_queue_database():
    Worker.objects.create(
        name="w",
        hostname="h",
        pid=1,
        connection="database",
        queues="default",
        started_at="2026-01-01T00:00Z",
        alive_until="2026-01-01T00:00Z",
    )
    assert Worker.objects.using("queue").count() == 1
    assert Worker.objects.using("default").count() == 0
