"""Pages where USE_TZ is False, which djqueue's checks allow on PostgreSQL."""

from __future__ import annotations

import pytest
from django.test import override_settings

from tests.admin.support import FAILED, JOBS, WORKERS, client, delayed, failed, running, stuck

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Seoul")
def test_every_page_can_be_read_without_time_zones():
    browser = client("view_payload")
    rows = {JOBS: [running(), stuck(), delayed(hours=2)], FAILED: [failed()]}
    for url, found in rows.items():
        page = browser.get(url)
        assert page.status_code == 200
        for row in found:
            assert browser.get(f"{url}{row.pk}/change/").status_code == 200
    page = browser.get(JOBS).content.decode()
    assert "in 1 h" in page
    assert "taken 3 h ago" in page
    assert "3 min ago" in browser.get(FAILED).content.decode()
    workers = browser.get(WORKERS).content.decode()
    assert "Alive" in workers
    assert "Lost" in workers
