from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDED = ("playwright", "axe_playwright_python")
collect_ignore_glob = [] if all(map(find_spec, NEEDED)) else ["test_*.py"]


@pytest.fixture(scope="session")
def server(django_db_setup, request):
    """pytest-django's live server, started once the test databases are there: before that they
    are in memory, and it would share this thread's connections to them.
    """
    from tests.admin.browser import driving

    # They are read when the server starts. The tests after these have no such middleware.
    with driving.policed():
        return request.getfixturevalue("live_server").url


@pytest.fixture(scope="package")
def chromium():
    from tests.admin.browser import driving

    with driving.chromium() as browser:
        yield browser


@pytest.fixture
def sits(chromium, server):
    """Return a function that seats one more operator."""
    from tests.admin.browser import driving

    seated = []

    def sit(**context):
        seated.append(driving.Operator(chromium, server, **context))
        return seated[-1]

    with driving.policy():
        yield sit
        for operator in seated:
            operator.close()


@pytest.fixture
def operator(request, sits):
    """An operator who may do everything, at the screen of the test's parameter."""
    found = sits()
    found.log_in()
    if hasattr(request, "param"):
        found.sit_at(request.param)
    return found
