"""A page with the progress of a job, in a real browser, under a strict policy."""

import pytest
from django.contrib.auth.models import User

from djqueue import context
from djqueue.results import rows
from djqueue.testing import work
from tests.admin.browser.driving import MARKS, expect
from tests.composition import jobs

pytestmark = MARKS


@pytest.fixture
def owner(operator):
    return operator


def test_the_owner_sees_the_progress_and_then_the_result(owner):
    with context.scope(user_id=User.objects.get().pk):
        dispatched = jobs.adds.dispatch(1, 2)
    owner.page.goto(f"/progress/{dispatched.id}/")
    box = owner.page.locator(".djqueue-progress")
    bar = box.locator("progress")
    rows.reported("default", {dispatched.id: (1.0, 4.0, "a quarter")})
    expect(box.get_by_text("a quarter")).to_be_visible(timeout=20_000)
    assert bar.evaluate("bar => bar.value") == 25
    work()
    expect(box).to_have_attribute("data-status", "done", timeout=20_000)
    expect(box.get_by_role("status")).to_have_text("3")
    assert bar.evaluate("bar => bar.value") == 100
    assert not owner.complaints


def test_another_user_sees_nothing(owner):
    dispatched = jobs.adds.dispatch(1, 2)
    owner.page.goto(f"/progress/{dispatched.id}/")
    box = owner.page.locator(".djqueue-progress")
    expect(box).to_have_attribute("data-status", "unknown", timeout=20_000)
    assert [each for each in owner.complaints if "404" not in each] == []
    owner.complaints.clear()
