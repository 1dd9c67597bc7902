"""Jobs that a test declares are gone when it ends."""

from __future__ import annotations

import pytest

from djqueue.jobs import registry


@pytest.fixture(autouse=True)
def _own_jobs():
    before = {spec.name for spec in registry.all()}
    yield
    for spec in registry.all():
        if spec.name not in before:
            registry.unregister(spec.name)
