"""The pytest plugin: the fixture `fake_queue`. Loading it needs no Django."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from djqueue.testing import FakeQueue


@pytest.fixture
def fake_queue() -> Iterator[FakeQueue]:
    """Jobs dispatched during the test are recorded instead of run; see djqueue.testing."""
    from djqueue import testing

    with testing.fake_queue() as queue:
        yield queue
