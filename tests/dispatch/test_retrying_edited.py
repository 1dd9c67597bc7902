"""Retrying failed jobs with other arguments: how these are stored, and what goes with the old."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from django.core.files.storage import storages
from django.test import override_settings

from djqueue import job
from djqueue.dispatch.connections import queues
from djqueue.errors import QueueUnavailable
from djqueue.jobs import registry
from djqueue.models import FailedJob, Payload, QueuedJob
from djqueue.operations.retrying import How, RetryStopped, retry
from djqueue.operations.verbs.editing import edited
from djqueue.payload import payload
from djqueue.payload.packing import is_stored
from djqueue.payload.store import unpacked
from djqueue.testing import work

pytestmark = pytest.mark.django_db
LONG = "".join(random.Random(7).choices(string.ascii_letters, k=30_000))


@pytest.fixture(params=[None, "large"])
def failed(request, tmp_path):
    """A failed job whose arguments are in the payload store."""
    backend = "django.core.files.storage.FileSystemStorage"
    files = {"BACKEND": backend, "OPTIONS": {"location": tmp_path}}
    sizes = {"COMPRESS_ABOVE": 2_000, "STORE_ABOVE": 4_000}
    known = {
        "CONNECTIONS": {"database": {"DRIVER": "database", **sizes}},
        "PAYLOADS": {"STORAGE": request.param},
    }

    @job(name="edited.large", tries=1)
    def large(number: int, text: str):
        if number == 1:
            raise ValueError

    with override_settings(DJQUEUE=known, STORAGES={**storages.backends, "large": files}):
        large.dispatch(1, LONG)
        work()
        yield FailedJob.objects.get()
    registry.unregister("edited.large")


@pytest.fixture
def files(tmp_path):
    return lambda: [each for each in tmp_path.rglob("*") if each.is_file()]


def retried(row, **values):
    return retry(how=How(payloads={row.pk: edited(row, values).payload}))


def read(text):
    return dict(unpacked(payload.decode(text)).arguments)


def test_large_arguments_are_stored_in_place_of_the_old(failed, files):
    before = len(files())
    assert retried(failed, number=2).moved == 1
    queued = QueuedJob.objects.get()
    assert is_stored(queued.payload)
    assert (Payload.objects.count(), len(files())) == (1, before)
    assert read(queued.payload) == {"number": 2, "text": LONG}
    assert work() == 1
    assert not FailedJob.objects.exists()
    assert not Payload.objects.exists()
    assert not files()


def test_the_old_arguments_are_removed_where_the_new_are_small(
    failed, files, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        assert retried(failed, text="short").moved == 1
    assert read(QueuedJob.objects.get().payload) == {"number": 1, "text": "short"}
    assert not Payload.objects.exists()
    assert not files()


def test_small_arguments_that_become_large_are_stored(failed):
    text = edited(failed, {"text": "short"}).payload
    FailedJob.objects.update(payload=text)
    Payload.objects.all().delete()
    assert retried(FailedJob.objects.get(), text=LONG).moved == 1
    assert Payload.objects.count() == 1
    assert read(QueuedJob.objects.get().payload)["text"] == LONG


def test_a_row_whose_job_is_not_taken_has_the_new_arguments(failed, monkeypatch):
    def away(*args):
        raise QueueUnavailable("It is away.")

    monkeypatch.setattr(type(queues["database"].driver), "push", away)
    with pytest.raises(RetryStopped):
        retried(failed, number=2)
    row = FailedJob.objects.get()
    assert read(row.payload) == {"number": 2, "text": LONG}


@pytest.mark.parametrize("failed", [None], indirect=True)
def test_arguments_that_a_store_does_not_take_are_refused(failed, settings, monkeypatch):
    text = edited(failed, {"number": 2}).payload
    settings.DJQUEUE = {**settings.DJQUEUE, "PAYLOADS": None}
    driver = type(queues["database"].driver)
    monkeypatch.setattr(driver, "capabilities", replace(driver.capabilities, max_payload=5_000))
    (reason,) = retry(how=How(payloads={failed.pk: text})).refused
    assert 'connection "database" takes at most 5,000' in reason
    assert FailedJob.objects.get().payload == failed.payload


@pytest.mark.parametrize("failed", ["large"], indirect=True)
def test_a_storage_that_takes_no_new_arguments_keeps_the_old(failed, monkeypatch):
    storage = type(storages["large"])
    save, calls = storage.save, []

    def fails_once(self, *args):
        calls.append(args)
        if len(calls) == 1:
            raise OSError("the disk is full")
        return save(self, *args)

    monkeypatch.setattr(storage, "save", fails_once)
    with pytest.raises(QueueUnavailable):
        retried(failed, number=2)
    assert read(FailedJob.objects.get().payload) == {"number": 1, "text": LONG}
