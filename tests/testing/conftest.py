"""A database connection, one that runs at once, and one that keeps nothing."""

from __future__ import annotations

import pytest
from django.test import override_settings

from tests.testing import jobs

DJQUEUE = {
    "DEFAULT": "database",
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "sync": {"DRIVER": "sync"},
        "null": {"DRIVER": "null"},
    },
}


@pytest.fixture(autouse=True)
def _settings():
    jobs.ran.clear()
    with override_settings(DJQUEUE=DJQUEUE):
        yield
