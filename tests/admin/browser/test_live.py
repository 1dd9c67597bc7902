"""The overview while it is open: it follows, and leaves alone what the operator is at."""

from __future__ import annotations

import pytest

from djqueue.admin.overview import page, reading
from tests.admin.browser.driving import MARKS, expect
from tests.admin.support import OVERVIEW, failed, waiting

pytestmark = MARKS

HIDDEN = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s})"


@pytest.fixture
def quick(monkeypatch):
    """The page looks every 0.2 s, and what others have seen is not kept."""
    usual = page.EVERY
    monkeypatch.setattr(page, "EVERY", 0.2)
    monkeypatch.setattr(reading, "KEEP_FOR", 0.0)
    return usual


@pytest.fixture
def overview(operator, quick):
    waiting(queue="mail")
    operator.page.goto(OVERVIEW)
    return operator


def asked(operator):
    """How often the page has asked so far."""
    return sum(url.endswith("/live/") for url in operator.requests)


def looks_once_more(operator):
    """Wait until the page has asked again, from now on."""
    with operator.page.expect_response(lambda answer: answer.url.endswith("/live/")):
        pass


def test_the_page_follows_what_happens(overview, quick):
    """UI-10: without a navigation, within the seven seconds of a page that looks every five."""
    assert 0 < quick <= 5
    headline = overview.page.locator("#djq-answer")
    expect(headline).to_have_text("1 problem")
    overview.page.evaluate("window.unchanged = true")
    failed()
    expect(headline).to_have_text("2 problems")
    assert overview.page.evaluate("window.unchanged")
    assert overview.complaints == []


def test_nothing_moves_under_the_hands_of_the_operator(overview):
    """UI-10: a focus, a pointer, a hidden page or “Pause refresh” stop it, until they are gone."""
    tab = overview.page
    headline, link = tab.locator("#djq-answer"), tab.locator(".djq-problems a").first
    button = tab.get_by_role("button", name="Pause refresh")
    begin_and_end = (
        (link.focus, lambda: link.evaluate("each => each.blur()")),
        (headline.hover, lambda: tab.mouse.move(1, 1)),
        (lambda: tab.evaluate(HIDDEN % "true"), lambda: tab.evaluate(HIDDEN % "false")),
        (button.click, button.click),
    )
    for number, (begin, end) in enumerate(begin_and_end):
        begin()
        tab.wait_for_timeout(400)  # what was asked before may still be on its way
        before, words = asked(overview), headline.inner_text()
        waiting(queue=f"another{number}")
        tab.wait_for_timeout(600)
        assert asked(overview) == before, begin
        assert headline.inner_text() == words
        end()
        tab.mouse.move(1, 1)
        expect(headline).not_to_have_text(words)


def test_the_pause_of_the_refresh_is_remembered(overview):
    button = overview.page.get_by_role("button", name="Pause refresh")
    button.click()
    overview.page.goto(OVERVIEW)
    assert button.get_attribute("aria-pressed") == "true"


def test_who_is_logged_out_is_told_and_the_page_stops(overview):
    """UI-10: it asks no more."""
    looks_once_more(overview)
    overview.context.clear_cookies()
    said = overview.page.locator("[data-djq-said]")
    expect(said).to_have_text("You have been logged out. Log in again.")
    overview.page.wait_for_timeout(300)
    before = asked(overview)
    overview.page.wait_for_timeout(600)
    assert asked(overview) == before
