"""Who may do what: every user, address, method and verb, generated from what is registered.

UI-11: what a page offers is what a post does; all else is refused, and changes nothing.
"""

from __future__ import annotations

import contextlib
import re
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, get_resolver

from djqueue.admin.operator import OperatorAdmin
from djqueue.admin.verbs import stored
from djqueue.models import Control, FailedJob, JobBatch, Outbox, QueuedJob, Worker
from tests.admin.browser import screens
from tests.admin.support import OVERVIEW, press, said

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]

VIEWS = (
    "view_overview", "view_queuedjob", "view_failedjob", "view_worker", "view_jobbatch",
    "view_jobresult", "view_finishedjob",
)  # fmt: skip
SCREENS = {
    model._meta.model_name: screen
    for model, screen in admin.site._registry.items()
    if model._meta.app_label == "djqueue"
}
VERBS = [
    (name, verb)
    for name, screen in SCREENS.items()
    if isinstance(screen, OperatorAdmin)
    for verb in screen.verbs
]
# Of each screen a row, in a state in which every verb is offered to somebody.
ROWS = {
    "queuedjob": ("waiting", "delayed", "running", "stuck"),
    "failedjob": ("failed", "known"),
    "jobbatch": ("batch",),
    "worker": ("alive",),
    "outbox": ("parked",),
}
CHANGED = (QueuedJob, FailedJob, Control, Outbox, JobBatch, Worker)
# What is asked before a verb is done.
# These need a key, a chain, or failed members, which the rows have not; they have tests elsewhere.
NEED_MORE = {
    ("queuedjob", "unlock"),
    ("queuedjob", "end_chain"),
    ("jobbatch", "close"),
    ("jobbatch", "retry"),
}
ANSWERS = {"priority": "3", "queue": "other", "pace": "1/m"}


class Case(NamedTuple):
    """A user with some permissions, and what they are called."""

    name: str
    permissions: tuple[str, ...]
    staff: bool = True


def case_of(verb: Any, of: str) -> Case:
    """Who has exactly what a verb needs, and may see the screens."""
    permissions = tuple(each.split(".")[1] for each in verb.permissions)
    return Case(f"may {verb.name} a {of}", permissions + VIEWS)


CASES = [Case("nobody", (), staff=False), Case("staff", ()), Case("viewer", VIEWS)]
CASES += {case.permissions: case for name, verb in VERBS for case in [case_of(verb, name)]}.values()


def browser_of(case: Case) -> Client:
    user = User.objects.create_user(case.name, is_staff=case.staff)
    found = Permission.objects.filter(
        content_type__app_label="djqueue", codename__in=case.permissions
    )
    user.user_permissions.set(found)
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def rows(monkeypatch):
    """A row of each kind. No worker runs here that could stop a job."""
    monkeypatch.setattr(stored, "STOP_WITHIN", 0.0)
    with override_settings(DJQUEUE=screens.SETTINGS):
        yield screens.fill(User.objects.create_superuser("anna"))


def state() -> Any:
    """All that an operator could change."""
    return [list(model._base_manager.order_by("pk").values()) for model in CHANGED]


def test_every_verb_has_a_permission_of_djqueue_that_exists():
    known = set(Permission.objects.values_list("content_type__app_label", "codename"))
    assert len(VERBS) > 15
    for name, verb in VERBS:
        assert verb.permissions, f"{name}: {verb.name} is for everybody"
        assert {tuple(each.split(".")) for each in verb.permissions} <= known, verb.name
        # To look is never enough.
        assert not all("view_" in each for each in verb.permissions), verb.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_page_offers_is_what_is_allowed_and_all_else_is_refused(rows, case):
    browser, before = browser_of(case), state()
    for name, verb in VERBS:
        allowed = _sees(name, case) and _of(verb) <= {*case.permissions}
        listed = browser.get(f"/admin/djqueue/{name}/")
        assert (listed.status_code == 200) == _sees(name, case), name
        if verb.action is not None and SCREENS[name].actions is not None:
            option = f'<option value="{verb.action.name}"'
            assert (option in listed.content.decode()) == allowed, (name, verb.name)
        for row in map(rows.get, ROWS[name]):
            page = browser.get(f"/admin/djqueue/{name}/{row.pk}/change/")
            offered = f"/{row.pk}/act/{verb.name}/" in page.content.decode()
            fits = page.status_code == 200 and verb.offered(page.context["original"])
            assert offered == (allowed and fits), (name, verb.name)
        if not allowed:
            _refused(browser, case, name, verb, rows[ROWS[name][0]])
            assert state() == before, (name, verb.name)


def _refused(browser, case, name, verb, row):
    """Forged posts: on the row, on everything that matches, and on the list."""
    form = {"confirmed": "yes", "newest": "99999999", **ANSWERS}
    pressed = press(browser, row, verb.name, **ANSWERS)
    matching = browser.post(f"/admin/djqueue/{name}/all/{verb.name}/", form)
    # Those who are no staff are led to the login; no list has a button for some of the verbs.
    wanted = 403 if case.staff else 302
    assert pressed.status_code == wanted, (name, verb.name)
    assert matching.status_code in (wanted, 404), (name, verb.name)
    if verb.action is not None:
        chosen = {"action": verb.action.name, "index": "0", "_selected_action": [row.pk]}
        browser.post(f"/admin/djqueue/{name}/", {**form, **chosen})


def _of(verb: Any) -> set[str]:
    return {each.split(".")[1] for each in verb.permissions}


def _sees(name: str, case: Case) -> bool:
    """Whether the user may see the screen: to Django, who may change rows may see them too."""
    of = "queuedjob" if name == "outbox" else name
    return case.staff and bool({f"view_{of}", f"change_{of}"} & {*case.permissions})


def test_what_is_offered_is_done(rows):
    """Each verb, by a user with its permissions and no other, on a row that has its button."""
    for name, verb in VERBS:
        browser, changes = browser_of(case_of(verb, name)), 0
        for row in map(rows.get, ROWS[name]):
            with _undone():
                page = browser.get(f"/admin/djqueue/{name}/{row.pk}/change/")
                if f"/{row.pk}/act/{verb.name}/" not in page.content.decode():
                    continue
                before = state()
                answer = press(browser, row, verb.name, **ANSWERS)
                assert answer.status_code == 302, (name, verb.name)
                assert said(answer), (name, verb.name)
                changes += state() != before
        assert changes or (name, verb.name) in NEED_MORE, (name, verb.name)


@contextmanager
def _undone():
    """Roll back what is done to the database in the block."""
    with contextlib.suppress(_Undo), transaction.atomic():
        yield
        raise _Undo


class _Undo(Exception):
    pass


def test_a_verb_is_done_by_post_alone(rows):
    before = state()
    for name, verb in VERBS:
        browser = browser_of(case_of(verb, name))
        for address in (f"{rows[ROWS[name][0]].pk}/act", "all"):
            url = f"/admin/djqueue/{name}/{address}/{verb.name}/"
            for ask in (browser.get, browser.head, browser.put, browser.patch, browser.delete):
                assert ask(url).status_code in (404, 405), (url, ask)
    assert state() == before


def test_a_post_of_another_site_is_refused(rows):
    """Without the token that our own pages carry."""
    before = state()
    for name, verb in VERBS:
        browser = Client(enforce_csrf_checks=True)
        browser.cookies = browser_of(case_of(verb, name)).cookies
        answer = press(browser, rows[ROWS[name][0]], verb.name, **ANSWERS)
        assert answer.status_code == 403, (name, verb.name)
    assert state() == before


def test_a_stale_post_is_told_so(rows):
    """The row has gone since the page was made."""
    for name, verb in VERBS:
        browser, row = browser_of(case_of(verb, name)), rows[ROWS[name][0]]
        with _undone():
            type(row)._base_manager.filter(pk=row.pk).delete()
            before = state()
            answer = press(browser, row, verb.name, **ANSWERS)
            assert answer.status_code == 302, (name, verb.name)
            [told] = said(answer)
            assert re.match(r"1 [\w ]+? (was|is) ", told), told
            assert state() == before, (name, verb.name)


@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.name)
def test_the_overview_is_paused_and_resumed_by_those_who_may(rows, case):
    browser, before = browser_of(case), state()
    page = browser.get(OVERVIEW)
    assert (page.status_code == 200) == (case.name == "viewer")
    text = page.content.decode()
    assert "overview/pause/" not in text
    assert "overview/resume/" not in text
    for url in ("pause/", "resume/"):
        form = {"connection": "database", "queue": "default"}
        status = browser.post(f"{OVERVIEW}{url}", form).status_code
        assert status == (403 if case.staff else 302)
    assert state() == before


@pytest.mark.parametrize("case", [CASES[0], CASES[1]], ids=lambda case: case.name)
def test_every_address_is_closed_to_those_without_permissions(rows, case):
    """Read from the registered addresses: a new one is closed too, or fails here."""
    browser, before = browser_of(case), state()
    names = {"pk": rows["waiting"].pk, "object_id": rows["waiting"].pk, "verb": "delete"}
    addresses = list(_addresses(get_resolver().url_patterns))
    assert len(addresses) > 40
    for address in addresses:
        url = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(names[found[1]]), address)
        for ask in (browser.get, browser.post):
            answer = ask(url)
            closed = answer.status_code in (403, 404, 405)
            elsewhere = answer.status_code in (301, 302) and _leads_away(answer.url)
            assert closed or elsewhere, (url, ask, answer.status_code)
    assert state() == before


def _leads_away(url: str) -> bool:
    """Whether it leads to the login or to a page of which the same test asks the address."""
    return "/login/" in url or url == "/admin/" or url.startswith("/admin/djqueue/")


def _addresses(patterns: Any, before: str = "") -> Any:
    for each in patterns:
        address = before + str(each.pattern)
        if not isinstance(each, URLPattern):
            yield from _addresses(each.url_patterns, address)
        elif address.startswith("admin/djqueue/"):
            yield address
