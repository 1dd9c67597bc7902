"""A page with the progress of a job, in a real browser, under a strict policy."""

import pytest
from django.contrib.auth.models import User

from djqueue import context
from djqueue.results import rows
from djqueue.testing import work
from tests.admin.browser.driving import MARKS, SCREENS, Operator, expect
from tests.composition import jobs
from tests.results.support import EVENTS

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


class Reader(Operator):
    """The owner, on an ASGI server, with what their page accepts of the jobs that it asks for."""

    def __init__(self, browser, server):
        super().__init__(browser, server)
        self.accepted = []
        self.page.on("request", self._note)
        self.log_in()

    def _note(self, request):
        if "/jobs/" in request.url:
            self.accepted.append(request.headers["accept"])


@pytest.fixture
def reader(chromium, site):
    found = Reader(chromium, site.url)
    yield found
    found.close()


@pytest.fixture
def site(transactional_db, tmp_path):
    """The test project on an ASGI server."""
    pytest.importorskip("uvicorn")
    from tests.results.serving import Site

    with Site(tmp_path) as site:
        yield site


def dispatched_by_owner():
    with context.scope(user_id=User.objects.get().pk):
        return jobs.adds.dispatch(1, 2).id


def test_one_stream_keeps_all_bars_of_a_page_up_to_date(reader):
    ids = [dispatched_by_owner() for _ in range(2)]
    reader.page.goto(f"/progress/{ids[0]},{ids[1]},{jobs.adds.dispatch(1, 2).id}/")
    boxes = reader.page.locator(".djqueue-progress")
    expect(boxes.nth(2)).to_have_attribute("data-status", "unknown", timeout=20_000)
    rows.reported("default", {ids[0]: (1.0, 4.0, "a quarter"), ids[1]: (1.0, 2.0, "")})
    expect(boxes.nth(0).get_by_role("status")).to_have_text("a quarter", timeout=20_000)
    expect(boxes.nth(1).get_by_role("status")).to_have_text("50 %")
    for screen in SCREENS:
        reader.sit_at(screen)
        reader.look("progress")
    work()
    for index in (0, 1):
        expect(boxes.nth(index)).to_have_attribute("data-status", "done", timeout=20_000)
    assert [EVENTS in accepted for accepted in reader.accepted] == [True]


def test_a_page_asks_where_something_holds_its_stream_back(reader):
    def hold_back(route):
        if EVENTS not in route.request.headers["accept"]:
            route.fallback()

    reader.page.route("**/jobs/*/", hold_back)
    reader.page.clock.install()
    id = dispatched_by_owner()
    reader.page.goto(f"/progress/{id}/")
    work()
    box = reader.page.locator(".djqueue-progress")
    reader.page.clock.fast_forward(9_000)
    assert box.get_attribute("data-status") == "waiting"
    reader.page.clock.fast_forward(2_000)
    expect(box).to_have_attribute("data-status", "done", timeout=20_000)


def test_a_page_survives_a_restart_of_the_server(reader, site):
    id = dispatched_by_owner()
    reader.page.goto(f"/progress/{id}/")
    box = reader.page.locator(".djqueue-progress")
    rows.reported("default", {id: (1.0, 4.0, "a quarter")})
    expect(box.get_by_text("a quarter")).to_be_visible(timeout=20_000)
    site.kill()
    site.start()
    work()
    expect(box).to_have_attribute("data-status", "done", timeout=20_000)
    reader.complaints.clear()


def test_a_page_in_a_hidden_tab_gives_its_stream_up_and_asks(reader):
    id = dispatched_by_owner()
    reader.page.goto(f"/progress/{id}/")
    box = reader.page.locator(".djqueue-progress")
    rows.reported("default", {id: (1.0, 4.0, "a quarter")})
    expect(box.get_by_text("a quarter")).to_be_visible(timeout=20_000)
    reader.page.evaluate(HIDE, True)
    rows.reported("default", {id: (2.0, 4.0, "a half")})
    expect(box.get_by_text("a half")).to_be_visible(timeout=20_000)
    asked = reader.accepted[1:]
    assert asked
    assert not any(EVENTS in accepted for accepted in asked)
    reader.page.evaluate(HIDE, False)
    work()
    expect(box).to_have_attribute("data-status", "done", timeout=20_000)
    assert EVENTS in reader.accepted[-1]


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
