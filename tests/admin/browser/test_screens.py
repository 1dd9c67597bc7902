"""Every screen: it fits, it can be read, it is accessible, and it breaks no policy."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import URLPattern, get_resolver

from tests.admin.browser import screens
from tests.admin.browser.driving import DARK, MARKS, NARROW, NARROW_DARK, POLICY, TABLET, WIDE
from tests.admin.browser.measures import CONTRAST, MOVING, SETTLED, TIMES
from tests.admin.support import JOBS, OVERVIEW, failed, running

pytestmark = MARKS

READ = (".djq-pill", ".djq-act button", ".djq-error", ".djq-facts dt", ".djq-facts dd", ".djq-text")
READ += (".djq-head p", ".djq-raw summary", "h2", "h1", ".djq-attempts li", ".breadcrumbs a")
AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
# Both directions, in both themes, at both widths. Of each, axe sees the last.
LOOKS = {"en": (NARROW_DARK, TABLET, WIDE), "ar": (DARK, NARROW, NARROW_DARK)}
# Addresses that are no screens: they lead elsewhere, refuse, or answer with a part or a file.
NO_SCREENS = ("live", "resume", "add", "delete", "act_all", "act", "export", "None")


def visit(operator: Any, page: screens.Page) -> None:
    operator.page.goto(page.url)
    if page.press:
        operator.follow(operator.page.locator(f"form[action*='/{page.press}/'] button"))


def violations(operator: Any) -> list[Any]:
    """What axe finds of weight, with the elements."""
    kept = len(operator.complaints)
    found = Axe().run(operator.page, options=AXE).response["violations"]
    del operator.complaints[kept:]  # of the style sheets that axe itself tries to add
    return [
        (each["id"], each["impact"], node["html"][:160])
        for each in found
        if each["impact"] != "minor"
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("locale", LOOKS)
def test_every_screen_fits_and_can_be_used_by_everybody(sits, locale):
    """UI-08, UI-09, UI-14, UI-15, UI-22: policy, requests, axe, 360 pixels, right to left."""
    operator = sits(locale=locale)
    user = operator.log_in()
    with override_settings(DJQUEUE=screens.SETTINGS):
        rows = screens.fill(user)
        for name, page in screens.pages(rows):
            visit(operator, page)
            direction = operator.page.evaluate("getComputedStyle(document.body).direction")
            assert direction == ("rtl" if locale == "ar" else "ltr")
            without = operator.page.evaluate(TIMES)
            assert not without, (name, without)
            for screen in LOOKS[locale]:
                operator.sit_at(screen)
                operator.look(name)
            found = violations(operator)
            assert not found, (name, found)


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_one_that_was_chosen(operator, system):
    """UI-13: Django's button goes through “auto”, “light” and “dark”; our colours follow, and
    what has them can be read in each.
    """
    rows = screens.fill(User.objects.get())
    operator.page.emulate_media(color_scheme=system)
    operator.page.goto(f"{JOBS}{rows['stuck'].pk}/change/")
    colour = "getComputedStyle(document.querySelector('.djq-pill')).backgroundColor"
    seen = {}
    for _ in range(3):
        theme = operator.page.evaluate("document.documentElement.dataset.theme")
        operator.page.evaluate(SETTLED)
        seen[theme] = operator.page.evaluate(colour)
        for selector in READ:
            assert operator.page.evaluate(CONTRAST, selector) >= 4.5, (theme, selector)
        operator.page.locator(".theme-toggle:visible").click()
    assert seen["auto"] == seen[system]
    assert seen["light"] != seen["dark"]


def test_every_address_of_the_admin_is_among_the_screens():
    """A new page is looked at too."""
    rows = screens.fill(User.objects.create_superuser("anna"))
    client = Client()
    client.force_login(User.objects.get())
    with override_settings(DJQUEUE=screens.SETTINGS):
        urls = [page.url for _name, page in screens.pages(rows)]
        seen = {client.get(url).resolver_match.url_name for url in urls}
    known = {name for name in _names(get_resolver().url_patterns) if name.startswith("djqueue_")}
    known = {name for name in known if not name.endswith(NO_SCREENS)}
    elsewhere = {name for name in known if name.endswith(("_bulk", "_history"))}  # alike for all
    assert known - elsewhere <= seen
    assert "djqueue_queuedjob_history" in seen


def _names(patterns: Any) -> set[str]:
    """The names of addresses, at any depth."""
    found = set()
    for each in patterns:
        found |= {str(each.name)} if isinstance(each, URLPattern) else _names(each.url_patterns)
    return found


def test_the_policy_is_in_force(operator):
    """UI-08: what the tests of screens rely on."""
    answer = operator.page.goto(OVERVIEW)
    assert "default-src 'self'" in answer.header_value("content-security-policy")
    assert POLICY.startswith("default-src 'self'")
    operator.page.evaluate("document.body.setAttribute('style', 'color: red')")
    operator.page.evaluate("document.body.append(Object.assign(new Image(), {src: '//x.test/'}))")
    operator.page.wait_for_function("() => true")
    assert operator.complaints
    operator.complaints.clear()


def test_nothing_moves_for_those_who_do_not_want_that(operator):
    """WCAG 2.3.3: no transition and no animation of ours with `prefers-reduced-motion`."""
    row, other = running(), failed()
    operator.page.emulate_media(reduced_motion="reduce")
    for url in (OVERVIEW, JOBS, f"{JOBS}{row.pk}/change/"):
        operator.page.goto(url)
        assert operator.page.evaluate(MOVING) == []
    assert other.pk
