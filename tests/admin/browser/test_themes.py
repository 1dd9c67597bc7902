"""Other themes of the admin: the way to a stuck job, and what its page offers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from tests.admin.browser.driving import MARKS, NARROW, WIDE
from tests.admin.browser.pictures import wait_for
from tests.admin.support import FAILED, JOBS, OVERVIEW
from tests.support import ROOT

pytestmark = [each for each in MARKS if each.name != "django_db"]
# What is ours and wider than the screen. Lists are the theme's, which lets them scroll or not.
TOO_WIDE = """
[...document.querySelectorAll(".djq-note, .djq-all *, .djq-head *, .djq-facts *, .djq-answer *")]
  .filter(each => {
    const most = document.documentElement.clientWidth, box = each.getBoundingClientRect();
    return each.checkVisibility() && (box.right > most + 1 || box.left < -1);
  }).map(each => each.outerHTML.slice(0, 160))
"""
# Buttons of ours on which nobody could press, or whose words are cut off.
SMALL = """
[...document.querySelectorAll(".djq button, .djq-act button")].filter(each => {
  const box = each.getBoundingClientRect();
  const cut = each.scrollWidth > each.clientWidth + 1 || box.height < 24;
  return each.checkVisibility() && !each.closest("#toolbar, .actions") && cut;
}).map(each => each.outerHTML)
"""
THEMES = ("unfold", "jazzmin", "grappelli")


@contextmanager
def site(theme: str, folder: Any) -> Any:
    """Run a site with that theme; give its address."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.admin.browser.themes.settings",
        "DJQUEUE_TEST_THEME": theme,
        "DJQUEUE_TEST_THEME_FILE": str(folder / "db.sqlite3"),
        "PYTHONPATH": str(ROOT),
    }
    fill = [sys.executable, "-m", "tests.admin.browser.themes.fill"]
    subprocess.run(fill, env=environment, check=True, cwd=ROOT)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = [sys.executable, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(run, env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/admin/login/")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("theme", THEMES)
def test_a_stuck_job_is_found_and_deleted_under_the_theme(chromium, tmp_path, theme):
    """UI-20: UI-01 under each theme; the page of a failed job has its buttons too."""
    if find_spec(theme) is None:
        pytest.skip(f"{theme} has no release for this Python")
    with site(theme, tmp_path) as url:
        page = chromium.new_context(base_url=url).new_page()
        page.goto(f"/admin/login/?next={JOBS}?state=stuck")
        page.fill("[name=username]", "anna")
        page.fill("[name=password]", "anna")
        with page.expect_navigation():
            page.press("[name=password]", "Enter")
        _follow(page, page.get_by_role("link", name="shop.Stuck").first)
        _follow(page, page.locator("form[action*='/act/delete/'] button").first)
        _follow(page, page.locator(".djq-buttons .djq-danger"))
        assert "Deleted 1 job." in page.inner_text("body")
        assert page.goto(f"{JOBS}?state=stuck").ok
        assert page.get_by_role("link", name="shop.Stuck").count() == 0
        for screen in (NARROW, WIDE):
            page.set_viewport_size({"width": screen.width, "height": screen.height})
            for address in (OVERVIEW, JOBS, FAILED, f"{FAILED}1/change/"):
                page.goto(address)
                assert page.evaluate(TOO_WIDE) == [], (address, screen)
                assert page.evaluate(SMALL) == [], (address, screen)
        page.context.close()


def _follow(page: Any, link: Any) -> None:
    with page.expect_navigation():
        link.click()
