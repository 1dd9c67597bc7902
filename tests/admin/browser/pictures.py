"""Pictures of every screen of the demonstration's night: `make ui`, or

    python -m tests.admin.browser.pictures FOLDER [--docs]

Each is taken at 1280 and 360 pixels, light and dark, from left to right and from right to left.
`--docs` also takes those of the documentation.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from tests.support import ROOT

ADMIN = "/admin/djqueue/"
LISTS = ("queuedjob", "outbox", "failedjob", "jobbatch", "jobresult", "worker")
STATES = ("waiting", "delayed", "stuck")
DOCS = ROOT / "docs" / "images"
# Shows a traceback as that of a server.
ELSEWHERE = """
([here, there]) => document.querySelectorAll("pre").forEach(
  each => { each.textContent = each.textContent.replaceAll(here, there); })
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.admin.browser.driving import chromium

    with site() as url, chromium() as browser:
        for locale, direction in (("en", "ltr"), ("ar", "rtl")):
            page = log_in(browser.new_context(base_url=url, locale=locale))
            for name, address, press in screens(page):
                take(page, address, press, arguments.folder / f"{name}-{direction}")
        if arguments.docs:
            for_docs(log_in(browser.new_context(base_url=url, locale="en")))
    print(f"{len(list(arguments.folder.glob('*.png')))} pictures in {arguments.folder}")


@contextmanager
def site() -> Iterator[str]:
    """Run the demonstration's site, filled by `demo_admin`; give its address."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        environment = {**os.environ, "DEMO_FOLDER": folder}
        environment.pop("DJANGO_SETTINGS_MODULE")
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "demo_admin"], env=environment, check=True)
        run = [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]
        output = subprocess.DEVNULL
        with subprocess.Popen(run, env=environment, stdout=output, stderr=output) as server:
            try:
                url = f"http://127.0.0.1:{port}"
                wait_for(url)
                yield url
            finally:
                server.terminate()


def wait_for(url: str) -> None:
    """Wait until the site answers."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url)
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def log_in(context: Any) -> Any:
    """Log in as the operator of the demonstration; return a page."""
    page = context.new_page()
    page.goto("/admin/login/?next=/admin/")
    page.fill("#id_username", "demo")
    page.fill("#id_password", "demo")
    with page.expect_navigation():
        page.click("input[type=submit]")
    return page


def screens(page: Any) -> Iterator[tuple[str, str, str]]:
    """Give name and address of each screen, and the form that leads on from there, if any."""
    yield "index", "/admin/", ""
    yield "overview", f"{ADMIN}overview/", ""
    yield "statistics", f"{ADMIN}overview/statistics/", ""
    yield "pause", f"{ADMIN}overview/pause/?connection=database&queue=default", ""
    for name in LISTS:
        yield f"list-{name}", f"{ADMIN}{name}/", ""
        yield f"page-{name}", first(page, f"{ADMIN}{name}/"), ""
    for state in STATES:
        job = first(page, f"{ADMIN}queuedjob/?state={state}")
        yield f"list-queuedjob-{state}", f"{ADMIN}queuedjob/?state={state}", ""
        yield f"page-queuedjob-{state}", job, ""
        yield f"question-{state}", job, "act/delete"
    yield "move", first(page, f"{ADMIN}queuedjob/?state=waiting"), "act/move"
    yield "history", first(page, f"{ADMIN}failedjob/").replace("/change/", "/history/"), ""
    yield "question-all", f"{ADMIN}failedjob/?q=exc:ValueError", "all/retry"
    yield "nothing", f"{ADMIN}failedjob/?q=job:nothing", ""


def first(page: Any, address: str) -> str:
    """Return the address of the first row of a list."""
    page.goto(address)
    link = page.locator("#result_list tbody th a").first
    return str(link.get_attribute("href"))


def take(page: Any, address: str, press: str, file: Path) -> None:
    """Take the screen on each kind of display."""
    from tests.admin.browser.driving import SCREENS
    from tests.admin.browser.measures import SETTLED

    page.goto(address)
    if press:
        with page.expect_navigation():
            page.locator(f"form[action*='/{press}/'] button").click()
    for screen in SCREENS:
        page.set_viewport_size({"width": screen.width, "height": screen.height})
        page.emulate_media(color_scheme=screen.scheme)
        page.evaluate(SETTLED)
        page.screenshot(path=f"{file}-{screen}.png", full_page=True)


def for_docs(page: Any) -> None:
    """Take the pictures of the documentation: small files, no longer than people look at."""
    from PIL import Image

    DOCS.mkdir(exist_ok=True)
    job = first(page, f"{ADMIN}failedjob/?q=job:shop.charge_card")
    wanted = {
        "overview": (f"{ADMIN}overview/", 1500),
        "failed-jobs": (f"{ADMIN}failedjob/", 860),
        "job": (job, 860),
    }
    for name, (address, height) in wanted.items():
        page.set_viewport_size({"width": 1280, "height": height})
        page.goto(address)
        page.evaluate(ELSEWHERE, [str(ROOT), "/srv"])
        file = DOCS / f"{name}.png"
        page.screenshot(path=file)
        Image.open(file).convert("RGB").quantize(64).save(file, optimize=True)


if __name__ == "__main__":
    main()
