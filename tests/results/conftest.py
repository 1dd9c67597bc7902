from __future__ import annotations

import gc

import pytest
from django.contrib.auth.models import User

from djqueue.results import pages
from tests.composition import jobs
from tests.results.support import dispatched_by


@pytest.fixture
def site(transactional_db, tmp_path):
    """The test project on an ASGI server."""
    pytest.importorskip("uvicorn")
    from tests.results.serving import Site

    with Site(tmp_path) as site:
        yield site


@pytest.fixture
def owner():
    return User.objects.create_user("owner")


@pytest.fixture
def waiting(owner):
    """A job of the owner."""
    return dispatched_by(owner, jobs.adds.bind(1, 2)).id


@pytest.fixture
def everybody_leaves():
    """No page is open after the test."""
    yield
    gc.collect()
    assert len(pages.room) == 0
