"""``djqueue.context``: what is in scope, how much of it may be, and what a payload keeps."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import json
import logging
import sys
import zoneinfo

import pytest
from django.utils import timezone, translation

from djqueue import context
from djqueue.checks.setting import check_setting
from djqueue.errors import InvalidContext, MissingPackage, Undecryptable
from djqueue.payload.keyring import Keyring


@pytest.fixture(autouse=True)
def empty():
    with context.request_scope({}):
        yield


def test_values_end_with_their_scope():
    with context.scope(a=1, b=[{"c": None}]):
        with context.scope(a=2):
            assert context.values() == {"a": 2, "b": [{"c": None}]}
        assert context.get("a") == 1
    assert context.get("a") is None
    assert context.get("a", "else") == "else"


def test_what_is_added_ends_with_the_scope_around_it():
    with context.scope(a=1):
        context.add("b", 2)
        context.add("a", 3)
        assert context.values() == {"a": 3, "b": 2}
    assert context.values() == {}


def test_hidden_values_can_be_read_and_are_in_no_list():
    with context.scope(hidden={"token": "s3cret"}, a=1):
        context.add("pin", 1234, hidden=True)
        assert (context.get("token"), context.get("pin")) == ("s3cret", 1234)
        assert context.values() == {"a": 1}


@pytest.mark.parametrize("first", [True, False])
def test_a_key_is_hidden_or_shown_as_it_was_given_last(first):
    context.add("key", 1, hidden=first)
    context.add("key", 2, hidden=not first)
    assert context.get("key") == 2
    assert context.values() == ({"key": 2} if first else {})


def test_each_task_has_its_own():
    async def seen(number):
        with context.scope(number=number):
            await asyncio.sleep(0.01)
            return context.get("number")

    async def both():
        return await asyncio.gather(seen(1), seen(2))

    assert asyncio.run(both()) == [1, 2]


@pytest.mark.parametrize(
    "value", [object(), b"x", {1: 2}, [(1,)], float("nan"), float("inf"), {"a": {"b": {3}}}]
)
@pytest.mark.parametrize("hidden", [True, False])
def test_what_is_no_json_is_refused_where_it_is_added(value, hidden):
    with pytest.raises(InvalidContext, match="context's key"):
        context.add("key", value, hidden=hidden)
    with pytest.raises(InvalidContext, match="context's key"), context.scope(key=value):
        pass
    assert context.values() == {}


def test_more_than_8_kib_are_refused_where_they_are_added():
    context.add("a", "x" * 4000)
    with pytest.raises(InvalidContext, match="8,192"):
        context.add("b", "x" * 4200, hidden=True)
    with pytest.raises(InvalidContext, match="8,192"), context.scope(hidden={"b": "é" * 2000}):
        pass
    assert context.get("b") is None


def kept():
    """What a payload keeps of the present context."""
    part = context.stored()
    return json.loads(f"{{{part[1:]}}}")["context"] if part else None


def again(kept):
    """What a job sees that was dispatched with `kept`."""

    def seen():
        context.enter(kept)
        return (
            context.values(),
            context.get("token"),
            translation.get_language(),
            timezone.get_current_timezone_name(),
        )

    return contextvars.copy_context().run(seen)


def test_a_payload_keeps_it_with_language_and_time_zone(settings):
    assert kept() is None
    with (
        context.scope(hidden={"token": "s3cret"}, a=1),
        translation.override("ja"),
        timezone.override("Asia/Tokyo"),
    ):
        carried = kept()
    assert "s3cret" not in repr(carried)
    assert (carried["language"], carried["time_zone"]) == ("ja", "Asia/Tokyo")
    assert again(carried) == ({"a": 1}, "s3cret", "ja", "Asia/Tokyo")
    assert translation.get_language() == settings.LANGUAGE_CODE


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (datetime.timezone.utc, "UTC"),
        (timezone.get_fixed_timezone(-210), "-0330"),
        (zoneinfo.ZoneInfo("Asia/Kathmandu"), "Asia/Kathmandu"),
    ],
)
def test_each_kind_of_time_zone_travels(zone, name):
    with timezone.override(zone), context.scope(a=1):
        assert again(kept())[3] == name


def test_the_language_and_the_time_zone_of_the_project_need_no_room(settings):
    with (
        translation.override(settings.LANGUAGE_CODE),
        timezone.override(settings.TIME_ZONE),
    ):
        assert kept() is None
    with translation.override(None):
        assert kept() is None


@pytest.mark.parametrize("language", ["xx-unknown", "../../etc", 5, ["ja"]])
def test_a_language_that_is_unknown_here_is_left_out(language, settings):
    assert again({"language": language})[2] == settings.LANGUAGE_CODE


@pytest.mark.parametrize("zone", [10**30, 5000, "../../etc", ["UTC"], ""])
def test_a_time_zone_that_is_none_is_left_out(zone):
    assert again({"time_zone": zone})[3] == timezone.get_default_timezone_name()


def test_without_one_there_is_none_although_one_is_active_outside(settings):
    def seen():
        translation.activate("fr")  # ends with it
        return again({})

    with context.scope(a=1), translation.override("ja"), timezone.override("Asia/Tokyo"):
        inside = context.without(seen)
        assert translation.get_language() == "ja"
        assert timezone.get_current_timezone_name() == "Asia/Tokyo"
        assert context.get("a") == 1
    zone = timezone.get_default_timezone_name()
    assert inside == ({}, None, settings.LANGUAGE_CODE, zone)


def test_what_is_nested_too_deeply_is_refused_where_it_is_added():
    deep = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(InvalidContext, match="32 levels"):
        context.add("key", deep)


def test_a_value_is_as_it_was_when_it_was_added():
    value = [1]
    context.add("key", value)
    value.append(object())
    assert context.get("key") == [1]


def test_no_message_and_no_repr_has_a_hidden_value():
    with pytest.raises(InvalidContext) as refused:
        context.add("token", ["s3cret", object()], hidden=True)
    context.add("token", "s3cret", hidden=True)
    assert "s3cret" not in f"{refused.value} {context._current.get()!r}"


def test_keys_without_the_package_are_an_error(monkeypatch, settings):
    settings.DJQUEUE = {"ENCRYPTION_KEYS": ["A" * 43 + "="]}
    assert check_setting() == []
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    monkeypatch.setattr("djqueue.payload.keyring._made", Keyring)
    (found,) = check_setting()
    assert found.id == "djqueue.E006"
    assert "djqueue[encryption]" in found.hint


def test_hidden_values_are_refused_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    monkeypatch.setattr("djqueue.payload.keyring._made", Keyring)
    with pytest.raises(MissingPackage, match=r"pip install .djqueue\[encryption\]"):
        context.add("token", "s3cret", hidden=True)
    with pytest.raises(MissingPackage), context.scope(hidden={"token": "s3cret"}):
        pass
    assert context.get("token") is None


def test_a_time_zone_that_is_unknown_here_is_left_out(caplog):
    assert again({"time_zone": "Mars/Base"})[3] == timezone.get_default_timezone_name()
    assert "Mars/Base" in caplog.text


@pytest.mark.parametrize("kept", [{}, {"values": []}, {"other": 1}, {"values": None}])
def test_a_payload_of_another_kind_is_an_empty_context(kept):
    assert again(kept)[:2] == ({}, None)


def test_hidden_values_outlive_a_change_of_keys(settings):
    with context.scope(hidden={"token": "x"}):
        carried = kept()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "new" * 20
    assert again(carried)[1] == "x"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(Undecryptable, match="SECRET_KEY_FALLBACKS"):
        again(carried)


def test_a_damaged_token_is_undecryptable():
    keys = Keyring(["A" * 43 + "="])
    token = keys.encrypt(b"text")
    assert keys.decrypt(token) == b"text"
    for bad in ("", "ü", token[:-4], token.swapcase()):
        with pytest.raises(Undecryptable):
            keys.decrypt(bad)


def test_log_records_get_the_context_and_no_hidden_value():
    record = logging.makeLogRecord({"msg": "x"})
    with context.scope(hidden={"token": "s3cret"}, a=1):
        assert context.JobFilter().filter(record)
    assert record.context == {"a": 1}
    assert (record.job_id, record.job_name, record.attempt, record.batch) == ("", "", 0, "")
