"""Every test here commits, and keeps a ledger."""

from __future__ import annotations

import pytest

from djqueue import queues
from djqueue.conf import settings as current
from djqueue.drivers import make_driver
from djqueue.runner.rules import Rules
from djqueue.worker.children.children import Children
from djqueue.worker.children.settings import ChildSettings
from tests import databases
from tests.torture.sizes import STORES
from tests.worker.stores import ASKED_FOR, settings_of


@pytest.fixture
def children():
    """A warden, and room for one child."""
    settings = ChildSettings("null", "test", ("default",), Rules(), 0)
    children = Children(1, settings, make_driver(current().connection("null")))
    yield children
    children.close()


@pytest.fixture(params=[ASKED_FOR] if ASKED_FOR else STORES)
def store(request, settings, transactional_db):
    """The connection `store`, to each store beside the database."""
    settings.DJQUEUE = settings_of(request.param, request)
    yield request.param
    queues["store"].clear()
    queues["store"].close()


# What other stores do does not depend on the vendor beside them: once is enough.
collect_ignore_glob = [] if databases.vendor() == "sqlite" or ASKED_FOR else ["test_store*.py"]
