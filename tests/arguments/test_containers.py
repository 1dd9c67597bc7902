"""Values with parts come back as they were."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from djqueue.errors import NotSerializable
from tests.arguments.support import assert_comes_back, round_trip, stored

TODAY = dt.date(2024, 2, 29)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        (),
        set(),
        frozenset(),
        [1, [2, [3, None]], {"a": [True]}],
        (1, "x", (2.5, [()])),
        {1, 2, 3},
        {1, "1", 1.5, None, TODAY, (1, frozenset({2}))},
        frozenset({Decimal("1.10"), b"x"}),
        {"b": 1, "a": 2},
        {1: "int", "1": "text", 1.5: "float", None: "none", (1, 2): "tuple", TODAY: "date"},
        {True: 1},
        {mark_safe("key"): 1},
        {"\ud83d\ude00": 1, "\U0001f600": 2},
        {"\x00": "\ud800"},
        {frozenset({1}): {2: {3: "deep"}}},
        {"rows": [{"when": TODAY, "sum": Decimal("1.50")}]},
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_each_comes_back_as_the_type_it_was(value):
    assert_comes_back(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$": "date", "v": "2024-01-01"},
        {"$": "dict", "v": [[1, 2]]},
        {"$": "model", "m": "auth.user", "k": 1},
        {"$": None},
        {"$": {"$": "x"}},
        [{"a": {"$": "uuid"}}],
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_dict_that_looks_like_one_of_our_tags_is_only_a_dict(value):
    assert_comes_back(value)


def test_plain_lists_and_dicts_are_stored_as_themselves():
    value = {"a": [1, 2.5, "x", None, {"b": True}]}
    assert stored(value) == value


def test_what_is_stored_is_no_part_of_the_value():
    value = {"a": [1]}
    packed = stored(value)
    value["a"].append(2)
    assert packed == {"a": [1]}


def test_equal_sets_are_stored_alike_in_every_process():
    program = (
        "from djqueue import arguments\n"
        "value = {frozenset({'a', 'b', 'c'}), frozenset({'x', 'y'}), 'text', 5, None}\n"
        "print(arguments.compile(None).encode(value, 'here'))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": "."},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(outputs) == 1


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_64_levels_come_back_and_65_are_refused():
    assert round_trip(_nested(64)) == _nested(64)
    with pytest.raises(NotSerializable, match="more than 64 levels deep, or contains itself"):
        stored(_nested(65))


def test_a_list_that_contains_itself_is_refused():
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(NotSerializable, match="contains itself"):
        stored(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1, 2, [object()]], "value[2][0]"),
        ({"rows": [{"when": object()}]}, "value['rows'][0]['when']"),
        ((1, object()), "value[1]"),
        ({1: object()}, "value[1]"),
        ({(1, 2): object()}, "value[tuple]"),
        ({object()}, "value{…}"),
        ({"k" * 500: object()}, "value['kkkkkkk"),
    ],
    ids=["list", "dict", "tuple", "int key", "tuple key", "set", "long key"],
)
def test_a_refusal_says_where_inside_the_argument(value, place):
    with pytest.raises(NotSerializable) as refused:
        stored(value)
    assert f'shop.SendReceipt: argument "value" ({place}' in str(refused.value)
    assert len(str(refused.value)) < 500
