"""What is said of jobs that were changed, whatever their store does in between."""

from __future__ import annotations

import uuid

import pytest

from djqueue.dispatch.connections import queues
from djqueue.drivers.base import Change
from djqueue.errors import QueueUnavailable
from djqueue.models import QueuedJob
from djqueue.operations import changes
from djqueue.operations.results import Target
from tests.app import jobs

pytestmark = pytest.mark.django_db


def test_what_was_deleted_before_the_store_went_away_is_reported(monkeypatch):
    ids = [jobs.nothing.dispatch().id for _ in range(3)]
    meant = [Target("database", "default", id, "app.nothing") for id in [*ids, str(uuid.uuid4())]]

    inspector = type(queues["database"].inspector)
    usual = inspector.find

    def find(*args):
        if not QueuedJob.objects.exists():
            raise QueueUnavailable("The store does not answer.")
        return usual(*args)

    monkeypatch.setattr(inspector, "find", find)
    result = changes.change(Change.DELETE, meant)
    assert QueuedJob.objects.count() == 0
    assert [target.id for target in result.changed] == ids
    assert [left.target.id for left in result.left] == [meant[-1].id]
    assert result.stopped is not None
