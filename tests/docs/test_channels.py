"""The receiver for django-channels, without channels: its layer is a list."""

import sys
import types

import pytest
from django.contrib.auth.models import User

from djqueue.signals import job_failed, job_succeeded
from djqueue.testing import work
from tests.composition import jobs
from tests.docs.markdown import ROOT, blocks, section
from tests.results.support import dispatched_by

PAGE = ROOT / "docs" / "results.md"
[BLOCK] = [
    block for block in blocks(PAGE, section(PAGE, "Events on ASGI")) if "channels" in block.text
]


class Layer:
    def __init__(self):
        self.sent = []

    async def group_send(self, group, message):
        self.sent.append((group, message))


@pytest.fixture
def layer(monkeypatch):
    layer = Layer()
    module = types.ModuleType("channels.layers")
    module.get_channel_layer = lambda: layer
    monkeypatch.setitem(sys.modules, "channels", types.ModuleType("channels"))
    monkeypatch.setitem(sys.modules, "channels.layers", module)
    return layer


@pytest.mark.anywhere
@pytest.mark.django_db
def test_the_owner_is_told_of_the_end_of_a_job(layer):
    namespace = {}
    exec(compile(BLOCK.source, str(BLOCK.page), "exec"), namespace)
    owner = User.objects.create_user("owner")
    try:
        done = dispatched_by(owner, jobs.adds.bind(1, 2))
        failed = dispatched_by(owner, jobs.Kept("give up"))
        work()
    finally:
        for signal in (job_succeeded, job_failed):
            assert signal.disconnect(namespace["tell_the_owner"])
    assert sorted(layer.sent, key=str) == [
        (f"user-{owner.pk}", {"type": "job.ended", "id": each.id}) for each in (done, failed)
    ]
