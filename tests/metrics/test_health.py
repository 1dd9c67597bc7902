"""Is it well? The view for load balancers."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from tests.app.jobs import record

pytestmark = pytest.mark.django_db

TOKEN = {"authorization": "Bearer sesame-sesame-sesame"}


@pytest.fixture(autouse=True)
def _token(settings):
    settings.DJQUEUE = {"METRICS_TOKEN": "sesame-sesame-sesame"}


def test_it_is_well(client):
    answer = client.get("/jobs/health/")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert "no-store" in answer["Cache-Control"]
    found = client.get("/jobs/health/", headers=TOKEN).json()
    assert {each["name"] for each in found["checks"]} >= {"database default", "connection database"}


def test_a_database_that_is_away(client):
    def refuse(*_):
        raise OperationalError("gone, host=secret")

    with connection.execute_wrapper(refuse):
        answer = client.get("/jobs/health/")
        told = client.get("/jobs/health/", headers=TOKEN)
    assert (answer.status_code, answer.json()) == (503, {"ok": False})
    assert told.status_code == 503
    assert [each["name"] for each in told.json()["checks"] if not each["ok"]]


def test_deep_is_for_those_who_may_read_the_metrics(client):
    assert client.get("/jobs/health/?deep").status_code == 403
    assert client.get("/jobs/health/?deep", headers=TOKEN).status_code == 200
    record.dispatch("a")  # and no worker reads the queue
    answer = client.get("/jobs/health/?deep", headers=TOKEN)
    assert answer.status_code == 503
    assert "no worker reads it" in answer.content.decode()
    assert client.get("/jobs/health/").status_code == 200
