"""A page with the progress of a job, in a real browser, under a strict policy."""

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from django.contrib.auth.models import User  # noqa: E402

from djqueue import context  # noqa: E402
from djqueue.results import rows  # noqa: E402
from djqueue.testing import work  # noqa: E402
from tests.admin.test_browser import Operator, chromium, server  # noqa: E402, F401 - fixtures
from tests.composition import jobs  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def owner(chromium, server):  # noqa: F811 - a fixture
    operator = Operator(chromium, server.url)
    yield operator
    operator.close()


def test_the_owner_sees_the_progress_and_then_the_result(owner):
    with context.scope(user_id=User.objects.get().pk):
        dispatched = jobs.adds.dispatch(1, 2)
    owner.page.goto(f"/progress/{dispatched.id}/")
    box = owner.page.locator(".djqueue-progress")
    bar = box.locator("progress")
    rows.reported("default", {dispatched.id: (1.0, 4.0, "a quarter")})
    playwright.expect(box.get_by_text("a quarter")).to_be_visible(timeout=20_000)
    assert bar.evaluate("bar => bar.value") == 25
    work()
    playwright.expect(box).to_have_attribute("data-status", "done", timeout=20_000)
    playwright.expect(box.get_by_role("status")).to_have_text("3")
    assert bar.evaluate("bar => bar.value") == 100
    assert not owner.complaints


def test_another_user_sees_nothing(owner):
    dispatched = jobs.adds.dispatch(1, 2)
    owner.page.goto(f"/progress/{dispatched.id}/")
    box = owner.page.locator(".djqueue-progress")
    playwright.expect(box).to_have_attribute("data-status", "unknown", timeout=20_000)
    assert [each for each in owner.complaints if "404" not in each] == []
    owner.complaints.clear()
