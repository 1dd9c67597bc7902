"""Jobs as JSON lines: selected ones, all that match, and one from its page."""

from __future__ import annotations

import json

import pytest

from djqueue.admin import operator
from djqueue.admin.bulk import exporting
from tests.admin.support import FAILED, JOBS, act, client, failed, logged, said, text_of, waiting

pytestmark = pytest.mark.django_db

MAY = ("view_payload", "view_exception")
SECRET = "hunter2-canary"


def lines(response):
    assert response.status_code == 200
    assert "attachment" in response["Content-Disposition"]
    text = b"".join(response.streaming_content).decode()
    assert SECRET not in text
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(params=[JOBS, FAILED])
def listed(request):
    make = waiting if request.param == JOBS else failed
    text = text_of("shop.A", {"order": 7, "password": SECRET})
    rows = [make("shop.A", queue=queue, payload=text) for queue in ("mail", "mail", "pdf")]
    return request.param, rows


def test_selected_rows_are_sent_with_secrets_masked(listed):
    """UI-12: in an export."""
    url, rows = listed
    found = lines(act(client(*MAY), url, "export_rows", rows[:2]))
    assert [each["id"] for each in found] == [str(row.uuid) for row in rows[:2]]
    assert found[0]["arguments"]["order"] == 7
    [entry] = logged()
    assert json.loads(entry.change_message)["verb"] == "export"


def test_all_that_match_are_sent(listed, monkeypatch):
    monkeypatch.setattr(exporting, "SLICE", 1)
    url, _rows = listed
    found = lines(client(*MAY).post(f"{url}export/?queue=mail"))
    assert [each["queue"] for each in found] == ["mail", "mail"]


def test_the_page_of_a_row_sends_it(listed):
    url, rows = listed
    browser = client(*MAY)
    assert f'action="{url}export/"' in browser.get(f"{url}{rows[2].pk}/change/").content.decode()
    [found] = lines(browser.post(f"{url}export/", {"_selected_action": rows[2].pk}))
    assert found["id"] == str(rows[2].uuid)


@pytest.mark.parametrize("missing", MAY)
def test_who_may_not_see_all_of_it_gets_no_file(listed, missing):
    url, rows = listed
    from django.contrib.auth.models import Permission, User

    browser = client(*MAY)
    User.objects.get().user_permissions.remove(Permission.objects.get(codename=missing))
    for page in (url, f"{url}{rows[0].pk}/change/"):
        assert "export" not in browser.get(page).content.decode()
    assert browser.post(f"{url}export/").status_code == 403
    assert not act(browser, url, "export_rows", rows).streaming
    assert browser.get(f"{url}export/").status_code == 405
    assert logged() == []


def test_a_large_file_needs_the_permission_for_many(listed, monkeypatch):
    monkeypatch.setattr(operator, "AT_ONCE", 2)
    url, _rows = listed
    response = client(*MAY).post(f"{url}export/")
    assert said(response)[-1].startswith("Nothing was changed: more than 2 rows match")
    assert len(lines(client(*MAY, "bulk_operations").post(f"{url}export/"))) == 3
