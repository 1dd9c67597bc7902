"""The screens in a real browser: wide and narrow, light and dark, under a strict policy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test import Client, override_settings  # noqa: E402

from djqueue.models import QueuedJob  # noqa: E402
from djqueue.payload import history, payload  # noqa: E402
from tests.admin.support import (  # noqa: E402
    BATCHES,
    FAILED,
    JOBS,
    OVERVIEW,
    RESULTS,
    WORKERS,
    delayed,
    exists,
    failed,
    logged,
    reserve,
    result,
    running,
    stuck,
    text_of,
    waiting,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CHROMIUM = os.environ.get("DJQUEUE_TEST_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
SCREENSHOTS = os.environ.get("DJQUEUE_TEST_SCREENSHOTS")
SCREENS = [(1280, 900, "light"), (1280, 900, "dark"), (360, 740, "light"), (360, 740, "dark")]

# The least contrast of a text on its own background, of all elements that fit the selector.
CONTRAST = """
selector => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  return Math.min(...[...document.querySelectorAll(selector)].map(element => {
    const style = getComputedStyle(element);
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
      behind = behind.parentElement;
    }
    const [a, b] = [light(style.color), light(getComputedStyle(behind).backgroundColor)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}
"""
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"


def with_policy(get_response):
    """Middleware that has the browser enforce `POLICY`."""

    def answer(request):
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


@pytest.fixture(scope="session")
def server(django_db_setup, request):
    """pytest-django's live server, started once the test databases are there: before that they
    are in memory, and it would share this thread's connections to them.
    """
    middleware = [f"{__name__}.{with_policy.__name__}", *settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=middleware):  # read when the server starts
        return request.getfixturevalue("live_server")


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as started:
        # Playwright's own event loop runs in this thread; the queries here are the test's.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


class Operator:
    """Somebody who is logged in, at a screen of a size and a colour scheme."""

    def __init__(self, browser: Any, server: str) -> None:
        self.context = browser.new_context(base_url=server)
        self._log_in(server)
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._requested(request.url, server))

    def sit_at(self, screen: tuple[int, int, str]) -> None:
        """Change to another screen, with the page that is open."""
        width, height, scheme = screen
        self.screen = f"{width}-{scheme}"
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme=scheme)

    def _log_in(self, server: str) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("anna"))
        name = settings.SESSION_COOKIE_NAME
        self.context.add_cookies(
            [{"name": name, "value": client.cookies[name].value, "url": server}]
        )

    def follow(self, link: Any) -> None:
        """Click, and wait for the page that follows."""
        with self.page.expect_navigation():
            link.click()

    def close(self) -> None:
        self.context.close()

    def _listen(self, entry: Any) -> None:
        wanted_an_icon = entry.location["url"].endswith("/favicon.ico")  # of any site, once
        if entry.type in ("error", "warning") and not wanted_an_icon:
            self.complaints.append(entry.text)

    def _requested(self, url: str, server: str) -> None:
        if not url.startswith(server):
            self.complaints.append(f"a request to {url}")

    def look(self, name: str) -> None:
        """The page must fit the screen and break no rule."""
        if SCREENSHOTS:
            path = Path(SCREENSHOTS) / f"{name}-{self.screen}.png"
            self.page.screenshot(path=path, full_page=True)
        assert self.page.evaluate(OVERFLOW) <= 0, f"{name} is wider than the screen"
        assert self.complaints == []

    def messages(self) -> list[str]:
        return [item.inner_text() for item in self.page.query_selector_all(".messagelist li")]

    def choose(self, action: str, row: Any) -> None:
        self.page.check(f"input[name=_selected_action][value='{row.pk}']")
        self.page.select_option("select[name=action]", action)
        self.follow(self.page.locator("button[name=index]"))

    def confirm(self, button: str) -> None:
        """Answer the question on the page."""
        self.follow(self.page.locator(".djq-buttons").get_by_role("button", name=button))


def _name(screen: tuple[int, int, str]) -> str:
    return f"{screen[0]}-{screen[2]}"


# Each width and each scheme once, for pages that differ little from those that are seen on all.
TWO = pytest.mark.parametrize("operator", [SCREENS[0], SCREENS[3]], ids=_name, indirect=True)


@pytest.fixture
def operator(request, chromium, server):
    found = Operator(chromium, server.url)
    found.sit_at(getattr(request, "param", SCREENS[0]))
    yield found
    found.close()


def _fill() -> dict[str, Any]:
    arguments = {
        "order": {"$": "model", "m": "auth.User", "k": 1, "db": "default"},
        "lines": [{"sku": "A-1", "count": 3}],
        "api_token": "x",
        "note": "A long note that wraps, " * 8,
    }
    attempts = history.add(
        history.read(""), history.Entry(1, "raised", "shop.errors.OutOfStock", "none left")
    )
    trace = (
        "Traceback (most recent call last):\n" + 'File "/srv/shop/jobs.py", line 42, in x\n' * 20
    )
    text = text_of("shop.billing.GenerateInvoicePdfForCustomer", arguments, tries=3, timeout=120)
    found = {
        "waiting": waiting(queue="mail"),
        "delayed": delayed(queue="reports", hours=4),
        "running": running(),
        "stuck": stuck(
            name="shop.billing.GenerateInvoicePdfForCustomer",
            queue="a-rather-long-queue-name.for-reports",
            payload=text,
            history=attempts,
        ),
        "failed": failed(payload=text, exception=trace, history=attempts),
        "result": result(value='{"rows": 3}', done=1, total=3, message="A long message. " * 9),
    }
    failed(
        "shop.billing.GenerateInvoicePdfForCustomer",
        exception_class="requests.exceptions.ConnectionError",
        exception_message="HTTPSConnectionPool(host='example.com', port=443): Max retries " * 3,
        connection="redis",
    )
    return found


ELSEWHERE = {
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "cache-queue": {"DRIVER": "redis", "URL": "redis://localhost:1/0"},
    }
}


@override_settings(DJQUEUE=ELSEWHERE)
def test_every_page_fits_the_screen_and_can_be_read(operator):
    rows = _fill()
    pages = {
        "overview": OVERVIEW,
        "jobs": JOBS,
        "no-jobs": f"{JOBS}?queue=nothing",
        "job": f"{JOBS}{rows['stuck'].pk}/change/",
        "running-job": f"{JOBS}{rows['running'].pk}/change/",
        "failed-jobs": FAILED,
        "failed-job": f"{FAILED}{rows['failed'].pk}/change/",
        "workers": WORKERS,
        "batches": BATCHES,
        "results": RESULTS,
        "result": f"{RESULTS}{rows['result'].pk}/change/",
    }
    for name, url in pages.items():
        operator.page.goto(url)
        for screen in SCREENS:
            operator.sit_at(screen)
            operator.look(name)
            for selector in (".djq-pill", ".djq-note", ".djq-act button", ".djq-error", ".djq-pre"):
                if operator.page.query_selector(selector):
                    least = operator.page.evaluate(CONTRAST, selector)
                    assert least >= 4.5, (name, selector, screen)


@TWO
def test_a_stuck_job_is_found_and_deleted(operator):
    rows = _fill()
    operator.page.goto(JOBS)
    operator.follow(operator.page.get_by_role("link", name="Stuck", exact=True))
    shown = operator.page.query_selector_all("input[name=_selected_action]")
    assert [box.get_attribute("value") for box in shown] == [str(rows["stuck"].pk)]
    operator.choose("delete_jobs", rows["stuck"])
    operator.confirm("Delete")
    assert operator.messages() == ["Deleted 1 job."]
    operator.look("deleted")
    assert not exists(rows["stuck"])
    assert len(logged()) == 1


@TWO
def test_a_job_taken_after_the_page_was_made_is_spared(operator):
    row = waiting()
    operator.page.goto(JOBS)
    reserve(row)
    operator.choose("delete_jobs", row)
    operator.confirm("Delete")
    [told] = operator.messages()
    assert "worker web-1:4211 started it" in told
    operator.look("spared")
    assert exists(row)


@TWO
def test_a_running_job_is_deleted_after_a_question(operator):
    row = running()
    operator.page.goto(f"{JOBS}{row.pk}/change/")
    button = operator.page.get_by_role("button", name="Delete even though running")
    operator.follow(button)
    operator.look("question")
    assert exists(row)
    operator.follow(operator.page.get_by_role("link", name="No, take me back"))
    operator.follow(button)
    operator.follow(button)
    assert "goes on" in operator.messages()[0]
    assert not exists(row)


@TWO
def test_a_failed_job_is_retried_with_the_keyboard_alone(operator):
    row = failed()
    operator.page.goto(f"{FAILED}{row.pk}/change/")
    operator.page.get_by_role("button", name="Retry", exact=True).focus()
    operator.page.keyboard.press("Enter")
    operator.page.wait_for_url(f"**{FAILED}")
    assert operator.messages()[0].startswith("Retried 1 job.")
    assert not exists(row)


@TWO
def test_an_argument_is_corrected_and_the_job_retried(operator):
    arguments = {"order_id": 42, "urgent": True}
    row = failed("app.label", payload=text_of("app.label", arguments))
    operator.page.goto(f"{FAILED}{row.pk}/change/")
    operator.follow(operator.page.get_by_role("link", name="Edit and retry…"))
    operator.look("edit")
    field = operator.page.get_by_label("order_id")
    assert field.input_value() == "42"
    field.fill("")
    operator.confirm("Show what changes")
    assert "This field is required." in operator.page.inner_text(".djq-wrong")
    operator.look("edit-wrong")
    operator.page.get_by_label("order_id").fill("43")
    operator.confirm("Show what changes")
    assert operator.page.inner_text(".djq-changes del") == "42"
    assert operator.page.inner_text(".djq-changes ins") == "43"
    operator.look("edit-changes")
    for selector in (".djq-changes del", ".djq-changes ins"):
        assert operator.page.evaluate(CONTRAST, selector) >= 4.5
    operator.confirm("Retry with these changes")
    assert operator.messages()[0].startswith("Retried 1 job.")
    [job] = QueuedJob.objects.all()
    assert payload.decode(job.payload).arguments == {"order_id": 43, "urgent": True}
    assert not exists(row)
