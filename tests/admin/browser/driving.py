"""Chromium, and an operator who is logged in at a screen of a size and a colour scheme."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import django
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from playwright.sync_api import expect, sync_playwright

from tests.admin.browser.measures import LISTEN, OVERFLOW, SETTLED

__all__ = [
    "DARK",
    "MARKS",
    "NARROW",
    "NARROW_DARK",
    "POLICY",
    "SCREENS",
    "TABLET",
    "WIDE",
    "Operator",
]
__all__ += ["Screen", "chromium", "expect", "policed", "policy"]

# All that drives a browser does so once: on the newest pair, on one database.
MARKS = [
    *(getattr(pytest.mark, name) for name in ("browser", "slow", "scenario", "anywhere")),
    pytest.mark.django_db(transaction=True),
]
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
_CHROMIUM = os.environ.get("DJQUEUE_TEST_CHROMIUM") or shutil.which("chromium")
_ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


class Screen(NamedTuple):
    """What an operator sits at."""

    width: int = 1280
    scheme: str = "light"

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"

    @property
    def height(self) -> int:
        return 900 if self.width > 800 else 740


TABLET = Screen(1000)
WIDE, DARK, NARROW, NARROW_DARK = SCREENS = (
    Screen(),
    Screen(1280, "dark"),
    Screen(360),
    Screen(360, "dark"),
)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser. Playwright's event loop runs in this thread until it is closed."""
    if not _CHROMIUM:
        pytest.skip("needs chromium")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # the queries here are the test's
        browser = started.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS.split())
        yield browser
        browser.close()


def with_policy(get_response: Any) -> Any:
    """Middleware for a Django that has none of its own: the browser enforces `POLICY`."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


def policed() -> override_settings:
    """Settings with which a server has to start so that its responses have the policy, and browsers
    choose the language.
    """
    ours = f"{__name__}.{with_policy.__name__}"
    own = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    first, second, *rest = [ours if django.VERSION < (6,) else own, *settings.MIDDLEWARE]
    locale = "django.middleware.locale.LocaleMiddleware"  # after sessions
    return override_settings(MIDDLEWARE=[first, second, locale, *rest])


def policy() -> override_settings:
    """Settings with which Django's own middleware, of 6.0 and later, answers."""
    rows = (each.split(" ", 1) for each in POLICY.split("; "))
    return override_settings(SECURE_CSP={name: [value] for name, value in rows})


class Operator:
    """Somebody who is logged in, at a screen. What breaks a rule is among the `complaints`."""

    def __init__(self, browser: Any, server: str, **context: Any) -> None:
        self.context = browser.new_context(base_url=server, **context)
        self.server = server
        self.complaints: list[str] = []
        self.requests: list[str] = []
        if context.get("java_script_enabled", True):
            complain = lambda text: self.complaints.append(text)  # noqa: E731
            self.context.expose_function("djqComplain", complain)
            self.context.add_init_script(LISTEN)
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.route("**/*", self._request)

    def log_in(self, name: str = "anna", user: User | None = None) -> User:
        """Log in as a user, a superuser if none is given."""
        user = user or User.objects.create_superuser(name)
        client = Client()
        client.force_login(user)
        cookie = settings.SESSION_COOKIE_NAME
        value = client.cookies[cookie].value
        self.context.add_cookies([{"name": cookie, "value": value, "url": self.server}])
        return user

    def sit_at(self, screen: Screen) -> None:
        """Change to another screen, with the page that is open."""
        self.page.set_viewport_size({"width": screen.width, "height": screen.height})
        self.page.emulate_media(color_scheme=screen.scheme)
        self.page.evaluate(SETTLED)  # Django's links change their colour slowly

    def follow(self, link: Any) -> None:
        """Click, and wait for the page that follows."""
        with self.page.expect_navigation():
            link.click()

    def look(self, name: str) -> None:
        """The page must fit the screen and break no rule."""
        wide = self.page.evaluate(OVERFLOW)
        assert not wide, (f"{name} is wider than the screen", wide)
        assert not self.complaints, (name, self.complaints)

    def messages(self) -> list[str]:
        return [item.inner_text() for item in self.page.query_selector_all(".messagelist li")]

    def choose(self, action: str, row: Any) -> None:
        self.page.check(f"input[name=_selected_action][value='{row.pk}']")
        self.page.select_option("select[name=action]", action)
        self.follow(self.page.locator("button[name=index]"))

    def confirm(self, button: str) -> None:
        """Answer the question on the page."""
        self.follow(self.page.locator(".djq-buttons").get_by_role("button", name=button))

    def close(self) -> None:
        self.context.close()

    def _listen(self, entry: Any) -> None:
        wanted_an_icon = entry.location["url"].endswith("/favicon.ico")  # of any site, once
        if entry.type in ("error", "warning") and not wanted_an_icon:
            self.complaints.append(entry.text)

    def _request(self, route: Any) -> None:
        url = route.request.url
        self.requests.append(url)
        if url.startswith(self.server):
            route.continue_()
        else:
            self.complaints.append(f"a request to {url}")
            route.abort()
