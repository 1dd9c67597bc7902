"""Screens in the language of who reads them: each text passes through gettext, and is found in the
catalogues; what commands print is in English.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import django
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import translation
from django.utils.translation import _trans, trans_real
from django.utils.translation.trans_real import CONTEXT_SEPARATOR

from djqueue.admin.failed import FailedJobAdmin
from djqueue.admin.jobs import QueuedJobAdmin
from djqueue.compat import has_language
from djqueue.dispatch import controls
from djqueue.models import Outbox
from djqueue.operations.reports.finding import why
from djqueue.payload import history
from tests.admin.support import (
    BATCHES,
    FAILED,
    JOBS,
    OVERVIEW,
    PARKED,
    RESULTS,
    WORKERS,
    act,
    delayed,
    failed,
    result,
    running,
    said,
    stuck,
    text_of,
    waiting,
    worker,
)
from tests.app.unique import once

pytestmark = pytest.mark.django_db

UNSEEN = {"script", "style", "pre", "code", "textarea", "svg"}
VOID = {"br", "img", "input", "meta", "link", "hr", "col"}
NAMED = ("title", "aria-label", "placeholder", "alt")
MARK = re.compile("⟦[^⟦⟧]*⟧")
DATA = re.compile(
    r"\b((app|shop|tests|auth)\.[\w.]+|database|default|mail|high|sync|null|web-1|gone-1|anna"
    r"|SMTP|is down|OutOfStock|no such order|none left|str|int|order|number|once|other|UTC"
    r"|[0-9a-f-]{8,})\b"
)
"""What the rows of the tests have in them."""


FIELDS = {"queue": "other", "connection": "database", "priority": "3", "pace": "1s"}


class Screen(HTMLParser):
    """Collects the texts that a reader sees or hears."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.texts += [found[name] for name in NAMED if found.get(name)]
        if tag == "input" and found.get("type") == "submit":
            self.texts.append(found.get("value") or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not UNSEEN & set(self._open):
            self.texts.append(data)


@pytest.fixture
def marked(monkeypatch):
    """Whatever gettext returns stands between marks; and it is asked for nothing that the
    catalogues of Django and of djqueue do not have.
    """
    asked: set[object] = set()
    for name, begin, end in (
        ("gettext", 0, 1),
        ("ngettext", 0, 1),
        ("pgettext", 0, 2),
        ("npgettext", 0, 2),
    ):
        monkeypatch.setattr(_trans, name, _marking(name, slice(begin, end), asked), raising=False)
    yield
    known = {key[0] if isinstance(key, tuple) else key for key, _text in _catalogue("de")}
    known |= set(_texts_of_django())
    assert not {text for text in asked if text and text not in known}


def _marking(name, key, asked):
    usual = getattr(_trans, name)

    def mark(*given):
        asked.add(CONTEXT_SEPARATOR.join(map(str, given[key])))
        return f"⟦{usual(*given)}⟧"

    return mark


def _texts_of_django():
    """Those that Django has in English, which may be new and not translated yet."""
    for file in Path(django.__file__).parent.glob("**/locale/en/LC_MESSAGES/django.po"):
        yield from re.findall('^msgid "(.+)"$', file.read_text(), re.MULTILINE)


def _catalogue(language):
    return trans_real.translation(language)._catalog.items()


def _unmarked(page: str) -> list[str]:
    """The words of a page that have not passed through gettext, and are no data."""
    found = []
    for text in Screen(page).texts:
        left = text
        while (shorter := MARK.sub("", left)) != left:
            left = shorter
        left = DATA.sub("", left)
        if re.search("[A-Za-z]{2,}", left):
            found.append(left.strip())
    return found


def _rows():
    past = history.add(
        history.read(""), history.Entry(1, "raised", "shop.errors.OutOfStock", "none left")
    )
    known = {"name": "app.record"}
    known["payload"] = text_of("app.record", {"number": 4}, tries=3, timeout=120)
    controls.pause("database", "mail", by="anna", reason="SMTP is down", for_=3600)
    once.dispatch(1)
    return {
        JOBS: [
            waiting(queue="mail", **known),
            waiting(**known),
            delayed(history=past, attempts=1, **known),
            running(**known),
            stuck(history=past, **known),
        ],
        FAILED: [failed(history=past, **known)],
        WORKERS: [worker()],
        RESULTS: [result(value='{"order": 3}', done=1, total=3)],
        BATCHES: [],
        PARKED: list(Outbox.objects.all()),
    }


def _browser() -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("anna"))
    return browser


def test_every_text_of_every_screen_passes_through_gettext(marked):
    rows, browser = _rows(), _browser()
    pages = {url: browser.get(url).content.decode() for url in (OVERVIEW, *rows)}
    for url, found in rows.items():
        for row in found:
            address = f"{url}{row.pk}/change/"
            pages[address] = browser.get(address).content.decode()
    wrong = {url: found for url, page in pages.items() if (found := _unmarked(page))}
    assert not wrong
    assert all("⟦" in page for page in pages.values())


def _actions():
    for url, screen in ((JOBS, QueuedJobAdmin), (FAILED, FailedJobAdmin)):
        for verb in screen.verbs:
            if verb.action is not None:
                yield pytest.param(url, verb.action.name, id=f"{url.split('/')[-2]}-{verb.name}")


@pytest.mark.parametrize(("url", "action"), list(_actions()))
def test_questions_and_what_is_said_after_them_too(url, action, marked):
    rows, browser = _rows()[url], _browser()
    asked = act(browser, url, action, rows, answered=False)
    if asked.status_code == 200:
        assert not _unmarked(asked.content.decode())
    told = said(act(browser, url, action, rows, **FIELDS))
    assert told
    assert not [message for message in told if _unmarked(message)]


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ("Kein Worker", "Wartet")),
        ("ja", ("ワーカー", "ジョブ")),
        ("ko", ("워커", "작업")),
    ],
)
def test_it_is_shown_in_the_language_of_the_reader(language, words):
    row = waiting("app.record")
    with override_settings(LANGUAGE_CODE=language):
        page = _browser().get(f"{JOBS}{row.pk}/change/").content.decode()
    for word in words:
        assert word in page


def test_commands_speak_english_and_the_screens_do_not_learn_from_them():
    row = waiting("app.record")
    with translation.override("de"):
        assert not why(str(row.uuid)).answer.startswith("No worker")
        out = StringIO()
        call_command("queue_why", str(row.uuid), stdout=out)
        assert out.getvalue().startswith("No worker reads database:default.")
        assert translation.get_language() == "de"


def test_a_command_leaves_no_language_behind():
    """Not even that of LANGUAGE_CODE, which jobs would then carry as if somebody had chosen it."""
    translation.deactivate()
    call_command("queue_status", stdout=StringIO())
    assert not has_language()
