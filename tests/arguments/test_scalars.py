"""Values without parts come back as they were."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import SafeString, mark_safe

from djqueue.errors import NotSerializable
from tests.arguments.support import assert_comes_back, round_trip, stored

BERLIN = ZoneInfo("Europe/Berlin")
SUMMER_ENDS = dt.datetime(2024, 10, 27, 2, 30, 0, 123456)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**64,
        10**4300 - 1,
        -(10**4300) + 1,
        0.0,
        -0.0,
        0.1,
        5e-324,
        1.7976931348623157e308,
        "",
        "plain",
        "안녕하세요, 世界, 😀",
        "\x00\x01\x7f\x85\u2028",
        "\ud800",
        "\udfff and \ud83d",
        "\ud83d\ude00",
        "\U0001f600",
        "$",
        mark_safe("<b>bold</b>"),
        mark_safe("\ud83d\ude00"),
        b"",
        b"\x00\xff",
        dt.date(1, 1, 1),
        dt.date.max,
        dt.datetime.max,
        SUMMER_ENDS,
        SUMMER_ENDS.replace(fold=1),
        SUMMER_ENDS.replace(tzinfo=BERLIN),
        SUMMER_ENDS.replace(tzinfo=BERLIN, fold=1),
        SUMMER_ENDS.replace(tzinfo=ZoneInfo("UTC")),
        SUMMER_ENDS.replace(tzinfo=ZoneInfo("America/Argentina/Buenos_Aires")),
        SUMMER_ENDS.replace(tzinfo=dt.timezone.utc),
        SUMMER_ENDS.replace(tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        SUMMER_ENDS.replace(tzinfo=dt.timezone(dt.timedelta(microseconds=1))),
        SUMMER_ENDS.replace(tzinfo=dt.timezone(dt.timedelta(hours=9), "한국")),
        SUMMER_ENDS.replace(tzinfo=dt.timezone(dt.timedelta(0), "GMT")),
        dt.time(2, 30, fold=1),
        dt.time(2, 30, 0, 1, tzinfo=BERLIN),
        dt.time(2, 30, tzinfo=dt.timezone.utc),
        dt.timedelta(days=-1, microseconds=1),
        dt.timedelta.max,
        dt.timedelta.min,
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("1E+999999"),
        Decimal(1) / 3,
        uuid.UUID(int=0),
        uuid.uuid4(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_comes_back_as_the_type_it_was(value):
    assert_comes_back(value)
    assert_comes_back(value, type(value))
    assert_comes_back(value, "a name that is nowhere")


def test_plain_values_are_stored_as_themselves():
    assert [stored(value) for value in (None, True, 1, 1.5, "x")] == [None, True, 1, 1.5, "x"]


def test_markup_that_was_safe_is_safe_and_other_text_is_not():
    assert type(round_trip(mark_safe("<b>"))) is SafeString
    assert type(round_trip("<b>")) is str


def test_the_same_moment_told_twice_a_year_stays_the_one_it_was():
    first, second = (SUMMER_ENDS.replace(tzinfo=BERLIN, fold=fold) for fold in (0, 1))
    assert round_trip(first).utcoffset() != round_trip(second).utcoffset()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_floats_that_json_does_not_know_are_refused(value):
    with pytest.raises(NotSerializable, match=r'argument "value" is the float .* Pass None'):
        stored(value, float)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_decimals_that_are_no_numbers_are_refused(value):
    with pytest.raises(NotSerializable, match=r"is the Decimal .* Pass None"):
        stored(Decimal(value))


@pytest.mark.parametrize("value", [10**4300, -(10**4300)], ids=["positive", "negative"])
def test_an_int_too_long_to_be_read_back_is_refused(value):
    with pytest.raises(NotSerializable, match="more than 4,300 digits"):
        stored(value)


class _HalfPast(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(minutes=30)


@pytest.mark.parametrize(
    "value", [SUMMER_ENDS.replace(tzinfo=_HalfPast()), dt.time(tzinfo=_HalfPast())]
)
def test_a_zone_without_a_name_is_refused(value):
    with pytest.raises(NotSerializable, match=r"_HalfPast.* Use zoneinfo\.ZoneInfo"):
        stored(value)


def test_times_of_a_test_clock_come_back_as_ordinary_ones(monkeypatch):
    real = dt.datetime

    class FakeDatetime(dt.datetime):
        pass

    value = FakeDatetime(2024, 1, 2, 3, 4, 5, tzinfo=BERLIN)
    with pytest.raises(NotSerializable, match=r"subclass of datetime\.datetime"):
        stored(value)
    with monkeypatch.context() as clock:
        clock.setattr(dt, "datetime", FakeDatetime)
        packed = stored(value)
    assert packed == stored(real(2024, 1, 2, 3, 4, 5, tzinfo=BERLIN))
