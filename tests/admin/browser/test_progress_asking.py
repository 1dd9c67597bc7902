"""When the script of `{% job_progress %}` asks again, by a clock and answers of the test."""

import pytest
from django.contrib.auth.models import User

from djqueue import context
from tests.admin.browser.driving import MARKS, expect
from tests.composition import jobs
from tests.results.support import EVENTS

pytestmark = MARKS


class Asked:
    """An open page. Notes what it asks, and answers with `status`; None: nobody answers."""

    def __init__(self, operator, status=200):
        self.page = operator.page
        self.status = status
        self.accepted = []
        self.page.route("**/jobs/*/", self._answer)
        self.page.route("**/settled/", lambda route: route.fulfill(body=""))
        with context.scope(user_id=User.objects.get().pk):
            self.id = jobs.adds.dispatch(1, 2).id
        self.page.clock.install(time=0)
        self.page.goto(f"/progress/{self.id}/")
        self.page.evaluate("addEventListener('djqueue:end', end => { window.ended = end.detail })")
        self.box = self.page.locator(".djqueue-progress")
        self.settle()
        self.page.clock.pause_at(5)

    def _answer(self, route):
        self.accepted.append(route.request.headers["accept"])
        if self.status is None:
            route.abort()
            return
        waiting = {"id": self.id, "status": "waiting", "progress": None, "value": None}
        route.fulfill(status=self.status, json=waiting)

    def settle(self):
        """Let what was asked be answered."""
        for _ in range(2):
            self.page.evaluate("fetch('/settled/').then(answer => answer.text())")

    def goes_on(self, seconds):
        """Let time pass. Return how many questions came in it."""
        before = len(self.accepted)
        for _ in range(seconds):
            self.page.clock.run_for(1000)
            self.settle()
        return len(self.accepted) - before

    def hide(self, hidden):
        self.page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden',"
            " { configurable: true, get: () => hidden });"
            " document.dispatchEvent(new Event('visibilitychange')) }",
            hidden,
        )
        self.settle()


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_refusal_that_passes_ends_no_bar(operator, status):
    asked = Asked(operator, status)
    assert asked.goes_on(25) > 0
    assert asked.box.get_attribute("data-status") == "waiting"
    operator.complaints.clear()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_result_that_is_gone_ends_it_with_an_event(operator, status):
    asked = Asked(operator, status)
    expect(asked.box).to_have_attribute("data-status", "unknown")
    asked.status = 200
    assert asked.goes_on(5) == 0
    operator.complaints.clear()


def test_the_end_of_a_bar_that_is_gone_is_told(operator):
    asked = Asked(operator)
    asked.status = 404
    asked.goes_on(3)
    ended = asked.page.evaluate("window.ended")
    assert (ended["id"], ended["status"]) == (asked.id, "unknown")
    operator.complaints.clear()


def test_a_server_that_is_away_is_asked_ever_less(operator):
    asked = Asked(operator, None)
    assert 2 <= asked.goes_on(60) <= 5
    assert 1 <= asked.goes_on(100) <= 4
    asked.status = 200
    asked.goes_on(91)
    assert asked.goes_on(10) >= 4
    operator.complaints.clear()


def test_a_page_that_there_is_no_room_for_tries_a_stream_each_half_minute(operator):
    asked = Asked(operator)
    asked.goes_on(20)
    assert len(asked.accepted) > 8
    assert [EVENTS in each for each in asked.accepted].index(True) == 0
    assert sum(EVENTS in each for each in asked.accepted) == 1
    del asked.accepted[:]
    asked.goes_on(15)
    assert sum(EVENTS in each for each in asked.accepted) == 1


def test_a_hidden_tab_asks_four_times_a_minute_and_at_once_when_it_is_seen(operator):
    asked = Asked(operator)
    asked.hide(True)
    asked.goes_on(3)
    assert 2 <= asked.goes_on(45) <= 3
    before = len(asked.accepted)
    asked.hide(False)
    assert len(asked.accepted) == before + 1
