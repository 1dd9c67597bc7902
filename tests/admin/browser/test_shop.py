"""The demonstration in a browser, with its worker: what is ordered arrives on the page of
customers, by way of an event and a listener of its own queue.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.admin.browser.driving import SCREENS, Operator, expect
from tests.admin.browser.measures import CONTRAST
from tests.admin.browser.pictures import log_in, wait_for
from tests.services.server import HOST, free_port
from tests.support import ROOT, wait_until

pytestmark = [
    getattr(pytest.mark, name) for name in ("browser", "slow", "scenario", "anywhere", "wallclock")
]
QUEUES = "default,pdf,mail,projections"
TABLE = ROOT / "demo_project" / "data" / "zone1970.tab"
SCREENSHOTS = os.environ.get("DJQUEUE_TEST_SCREENSHOTS")
"""A folder for pictures; without it, none are taken."""


class Shop:
    """The site of the demonstration, and a worker, on a database of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://{HOST}:{free_port()}"
        self._environment = {
            **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
            "DEMO_FOLDER": str(folder),
            "DJANGO_SUPERUSER_PASSWORD": "demo",
        }
        self._stack = ExitStack()

    def __enter__(self) -> Shop:
        self.run("migrate", "--verbosity", "0")
        self.run("createsuperuser", "--noinput", "--username=demo", "--email=demo@example.com")
        self._start("runserver", "--noreload", self.url.removeprefix("http://"))
        self._start("queue_work", "--queue", QUEUES, "--sleep", "0.1")
        wait_for(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.check_output(command, cwd=ROOT, env=self._environment, text=True)

    def _start(self, *arguments: str) -> None:
        with (self.folder / f"{arguments[0]}.log").open("wb") as log:
            command = [sys.executable, "manage.py", *arguments]
            process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def delayed(self) -> dict[str, int]:
        lines = self.run("queue_status", "--json").splitlines()
        return {each["queue"]: each["delayed"] for each in map(json.loads, lines)}

    def mails(self) -> str:
        return "".join(each.read_text() for each in (self.folder / "mail").glob("*"))


@pytest.fixture
def shop(tmp_path):
    with Shop(tmp_path) as shop:
        yield shop


@pytest.fixture
def staff(chromium, shop):
    """Somebody of the shop, who is logged in."""
    found = Operator(chromium, shop.url)
    found.page.close()
    found.page = log_in(found.context)
    yield found
    found.close()


def look(staff, name):
    """The page fits each screen and can be read there."""
    for screen in SCREENS:
        staff.sit_at(screen)
        staff.look(name)
        least = staff.page.evaluate(CONTRAST, "a, h1, p, label, td, th, [role=status]")
        assert least >= 4.5, (name, screen)
        if SCREENSHOTS:
            staff.page.screenshot(path=f"{SCREENSHOTS}/shop-{name}-{screen}.png", full_page=True)
    staff.sit_at(SCREENS[0])


def test_an_order_arrives_on_the_page_of_customers(shop, staff):
    page = staff.page
    page.goto("/customers/")
    expect(page.get_by_text("No order was sent yet.")).to_be_visible()
    staff.follow(page.get_by_role("link", name="Register"))
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Email").fill("ada@example.com")
    page.get_by_label("Address").fill("12 St James's Square, London")
    look(staff, "register")
    staff.follow(page.get_by_role("button", name="Register"))
    page.get_by_label("Article").fill("A difference engine")
    page.get_by_label("Total").fill("1500")
    look(staff, "order")
    staff.follow(page.get_by_role("button", name="Order"))

    def shows_the_order() -> bool:
        page.reload()
        row = page.locator("tbody tr").filter(has_text="Ada").locator("td")
        return row.all_inner_texts() == ["Ada", "1", "1500.00"]

    wait_until(shows_the_order, what="the page of customers has the order", every=0.2)
    look(staff, "customers")
    [invoice] = wait_until(lambda: list((shop.folder / "files" / "invoices").glob("*.pdf")))
    assert invoice.read_bytes().startswith(b"%PDF-")
    assert shop.delayed()["mail"] == 1, "the mail for Ada waits for an hour"


def test_an_import_shows_how_far_it_is_and_tells_who_began_it(shop, staff):
    page = staff.page
    page.goto("/import/")
    page.get_by_label("A table").set_input_files(TABLE)
    staff.follow(page.get_by_role("button", name="Import"))
    box = page.locator(".djqueue-progress")
    expect(box).to_have_attribute("data-status", "done", timeout=20_000)
    expect(box.get_by_role("status")).to_have_text("312")
    assert box.locator("progress").evaluate("bar => bar.value") == 100
    look(staff, "import")
    wait_until(lambda: "312 time zones of zone1970.tab were imported." in shop.mails())
    assert "To: demo@example.com" in shop.mails()
