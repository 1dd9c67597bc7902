from __future__ import annotations

import pytest

from djqueue.admin.lists import queue_names
from djqueue.admin.overview import reading


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    """Each look at the overview asks anew: the tests share a process."""
    monkeypatch.setattr(reading, "KEEP_FOR", 0.0)
    monkeypatch.setattr(queue_names, "KEEP_FOR", 0.0)
