"""What the tests of the checks share."""

from __future__ import annotations

import copy

import pytest
from django.core.checks import Tags, run_checks
from django.db import connections
from django.test import override_settings

from djqueue.checks import TAG


@pytest.fixture
def messages():
    """Return a function: what djqueue's checks say under these settings, always with a hint."""

    def messages(djqueue=None, *, deploy=False, databases=None, **settings):
        if djqueue is not None:
            settings["DJQUEUE"] = djqueue
        tags = [TAG] if databases is None else [TAG, Tags.database]
        with override_settings(**settings):
            found = run_checks(tags=tags, include_deployment_checks=deploy, databases=databases)
        found = [message for message in found if message.id.startswith("djqueue.")]
        for message in found:
            assert message.hint, message
        return found

    return messages


@pytest.fixture
def ids(messages):
    """Return a function: only the ids of those messages, sorted."""

    def ids(*args, **kwargs):
        return sorted(message.id for message in messages(*args, **kwargs))

    return ids


@pytest.fixture
def database(monkeypatch):
    """Return a function that changes what DATABASES says of an alias, for the test."""

    def database(alias="default", **changes):
        changed = {**copy.deepcopy(connections.settings[alias]), **changes}
        monkeypatch.setitem(connections.settings, alias, changed)

    return database
