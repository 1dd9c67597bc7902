"""Connections for these tests: a database, and a store that is none."""

from __future__ import annotations

import pytest
from django.test import override_settings

from tests.dispatch import jobs
from tests.dispatch.memory import MemoryDriver

MEMORY = "tests.dispatch.memory.MemoryDriver"

DJQUEUE = {
    "DEFAULT": "database",
    "CONNECTIONS": {
        "database": {"DRIVER": "database", "DATABASE": "default"},
        "apart": {"DRIVER": "database", "DATABASE": "queue", "QUEUE": "apart"},
        "memory": {"DRIVER": MEMORY, "QUEUE": "kept"},
        "eager": {"DRIVER": MEMORY, "AFTER_COMMIT": False},
        "down": {"DRIVER": MEMORY, "QUEUE": "down"},
        "sync": {"DRIVER": "sync"},
        "null": {"DRIVER": "null"},
    },
    "ROUTES": {
        "test.bus.Write": {"connection": "memory"},
        "test.bus.O*": {"connection": "memory", "queue": "routed"},
    },
}


@pytest.fixture(autouse=True)
def memory():
    """What the `memory` connection holds."""
    MemoryDriver.stores.clear()
    MemoryDriver.pushes.clear()
    jobs.ran.clear()
    with override_settings(DJQUEUE=DJQUEUE):
        yield MemoryDriver.stores.setdefault("memory", [])


@pytest.fixture
def change():
    """Return a function that changes keys of DJQUEUE for the test."""
    changed = []

    def change(**keys):
        override = override_settings(DJQUEUE={**DJQUEUE, **keys})
        override.enable()
        changed.append(override)

    yield change
    for override in reversed(changed):
        override.disable()
