"""What `check --deploy` adds."""

from __future__ import annotations

import pytest
from django.db import connections

REDIS_ONLY = {"DEFAULT": "null", "CONNECTIONS": {"null": {"DRIVER": "null"}}}


def of_default(ids):
    return [code for code in ids if code in {"djqueue.W001", "djqueue.W002"}]


@pytest.mark.parametrize(
    ("default", "expected"),
    [("sync", ["djqueue.W001"]), ("null", ["djqueue.W002"]), ("database", [])],
)
def test_a_default_that_keeps_no_jobs(ids, default, expected):
    assert of_default(ids({"DEFAULT": default}, deploy=True)) == expected
    assert ids({"DEFAULT": default}) == []


def test_a_default_that_cannot_work_is_told_once(ids):
    found = ids({"DEFAULT": "nothing"}, deploy=True)
    assert of_default(found) == []
    assert "djqueue.E004" in found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"transaction_mode": "IMMEDIATE"}, True),
        ({"init_command": "PRAGMA journal_mode=WAL"}, True),
        ({"transaction_mode": "immediate", "init_command": "pragma JOURNAL_MODE = wal"}, False),
    ],
)
def test_sqlite_on_its_default_options(messages, database, monkeypatch, options, expected):
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    database(OPTIONS=options)
    found = [message for message in messages(deploy=True) if message.id == "djqueue.W003"]
    assert bool(found) is expected
    if found:
        assert '"transaction_mode": "IMMEDIATE"' in found[0].hint
        assert not found[0].is_serious()
