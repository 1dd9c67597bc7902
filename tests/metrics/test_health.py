"""Is it well? The view for load balancers."""

from __future__ import annotations

import socket
import time

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from djqueue import queues
from djqueue.operations.reports import health
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


@pytest.fixture
def silent(settings):
    """Four connections to a server that accepts calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        names = ["first", "second", "third", "fourth"]
        stores = {name: {"DRIVER": "redis", "URL": url} for name in names}
        stores["database"] = {"DRIVER": "database"}
        settings.DJQUEUE = {**settings.DJQUEUE, "CONNECTIONS": stores}
        yield
        queues.close_all()


@pytest.mark.anywhere
@pytest.mark.parametrize("query", ["", "?deep"])
def test_a_store_that_is_silent_is_waited_for_a_short_time(client, silent, monkeypatch, query):
    monkeypatch.setattr(health, "PATIENCE", 0.3)
    monkeypatch.setattr(health, "LIMIT", 0.7)
    began = time.monotonic()
    answer = client.get(f"/jobs/health/{query}", headers=TOKEN)
    assert time.monotonic() - began < 3
    checks = {each["name"]: each for each in answer.json()["checks"]}
    assert not checks["connection first"]["ok"]
    assert checks["connection fourth"]["text"].startswith("It was not asked")


@pytest.mark.anywhere
def test_a_store_that_is_silent_from_now_on_is_waited_for_no_longer(silent, monkeypatch):
    monkeypatch.setattr(health, "PATIENCE", 0.3)
    monkeypatch.setattr(health, "ready", lambda connection: [])
    began = time.monotonic()
    assert [each.name for each in health.deep() if not each.ok] == ["queues"] * 4
    assert time.monotonic() - began < 4


def test_the_migrations_are_read_once(client, monkeypatch):
    assert client.get("/jobs/health/").status_code == 200
    monkeypatch.setattr(MigrationLoader, "load_disk", None)
    monkeypatch.setattr(health.pkgutil, "iter_modules", None)
    assert client.get("/jobs/health/").status_code == 200


def test_a_migration_that_is_missing_is_named(client):
    MigrationRecorder.Migration.objects.filter(app="djqueue").delete()
    (check,) = (
        each
        for each in client.get("/jobs/health/", headers=TOKEN).json()["checks"]
        if each["name"] == "database default"
    )
    assert "Migrations are missing: 0001_initial" in check["text"]
