"""What the checks say about the project's databases, without connecting to them."""

from __future__ import annotations

import enum
import sqlite3

import pytest
from django.db import connections

ON_QUEUE = {
    "CONNECTIONS": {"database": {"DRIVER": "database", "DATABASE": "queue"}},
    "FAILED_JOBS": {"DATABASE": "queue"},
    "BATCHES": {"DATABASE": "queue"},
    "RESULTS": {"DATABASE": "queue"},
}
ROUTERS = ["djqueue.routers.QueueRouter"]


@pytest.fixture
def vendor(monkeypatch):
    """Return a function: for the test, `alias` is of that vendor."""

    def vendor(name, alias="default"):
        monkeypatch.setattr(connections[alias], "vendor", name)

    return vendor


def test_oracle_is_refused(messages, vendor):
    vendor("oracle")
    [message] = messages()
    assert message.id == "djqueue.E014"
    assert "(oracle)" in message.msg


def test_a_database_that_holds_no_jobs_may_be_of_any_kind(ids, vendor):
    vendor("oracle", "other")
    assert ids() == []


def test_an_sqlite_without_returning_is_refused(messages, vendor, monkeypatch):
    vendor("sqlite")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    [message] = messages()
    assert message.id == "djqueue.E015"
    assert "SQLite 3.34.1" in message.msg


@pytest.mark.parametrize("name", ["sqlite", "mysql"])
def test_times_without_zones_are_refused(messages, vendor, name):
    vendor(name)
    [message] = messages(USE_TZ=False)
    assert message.id == "djqueue.E011"
    assert "USE_TZ = True" in message.hint


def test_times_without_zones_are_a_warning_on_postgresql(ids, vendor):
    vendor("postgresql")
    assert ids(USE_TZ=False) == ["djqueue.W011"]


class Level(enum.IntEnum):
    """As psycopg's."""

    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("postgresql", None, []),
        ("postgresql", Level.READ_COMMITTED, []),
        ("postgresql", Level.REPEATABLE_READ, ["djqueue.W013"]),
        ("postgresql", Level.SERIALIZABLE, ["djqueue.W013"]),
        ("postgresql", 2, []),
        ("postgresql", 4, ["djqueue.W013"]),
        ("mysql", None, []),
        ("mysql", "read committed", []),
        ("mysql", "repeatable read", []),
        ("mysql", "serializable", ["djqueue.W013"]),
        ("sqlite", None, []),
    ],
)
def test_isolation_levels_that_get_in_the_way(ids, vendor, database, name, level, expected):
    connections["default"]  # made before its settings change
    database(OPTIONS={} if level is None else {"isolation_level": level})
    vendor(name)
    assert ids() == expected


def test_a_queue_database_without_the_router(messages):
    [message] = messages(ON_QUEUE)
    assert message.id == "djqueue.W014"
    assert '"queue"' in message.msg
    assert "QueueRouter" in message.hint


def test_a_queue_database_with_the_router(ids):
    assert ids(ON_QUEUE, DATABASE_ROUTERS=ROUTERS) == []


def test_failed_jobs_elsewhere_need_the_router_too(ids):
    failed = {"FAILED_JOBS": {"DATABASE": "other"}}
    assert ids(failed) == ["djqueue.W014"]
    assert ids(failed, DATABASE_ROUTERS=ROUTERS) == []


def test_a_router_of_the_projects_own_may_take_care_of_it(ids):
    assert ids(ON_QUEUE, DATABASE_ROUTERS=[Everything("queue")]) == []


def test_a_router_that_sends_jobs_elsewhere_than_the_setting(ids):
    assert ids(DATABASE_ROUTERS=[Everything("other")]) == ["djqueue.W014", "djqueue.W015"]


class Everything:
    """Sends everything to one alias."""

    def __init__(self, alias):
        self.alias = alias

    def db_for_write(self, model, **hints):
        return self.alias

    def allow_migrate(self, db, app_label, **hints):
        return db == self.alias
