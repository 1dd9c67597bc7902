"""The pytest plugin: the fixtures `fake_queue`, `fake_events` and `queued_mails`. Loading it
needs no Django.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

    from djqueue.testing import FakeEvents, FakeQueue


@pytest.fixture
def fake_queue() -> Iterator[FakeQueue]:
    """Jobs dispatched during the test are recorded instead of run; see djqueue.testing."""
    from djqueue import testing

    with testing.fake_queue() as queue:
        yield queue


@pytest.fixture
def fake_events() -> Iterator[FakeEvents]:
    """Events of the test are recorded instead of fired; see djqueue.testing."""
    from djqueue import testing

    with testing.fake_events() as events:
        yield events


@pytest.fixture
def queued_mails() -> Iterator[list[EmailMessage]]:
    """Mails of the test are jobs, and reach this outbox when those run; see djqueue.testing."""
    from djqueue import testing

    with testing.queued_mails() as outbox:
        yield outbox
