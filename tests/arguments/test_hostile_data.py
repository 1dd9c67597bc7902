"""Whatever stands in a store, reading it gives a value or `InvalidPayload`."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from djqueue.errors import InvalidPayload
from tests.arguments.shop import Address, Box, Colour, MoreOptions, Point, Row, Status, Tree
from tests.arguments.support import WHERE, decode, stored

TAGS = [
    *("str", "safe", "bytes", "date", "datetime", "time", "timedelta", "decimal", "uuid"),
    *("tuple", "set", "frozenset", "dict", "enum", "namedtuple", "dataclass"),
    *("key", "pickle", "py/object", "__class__", "os.system", "", "$"),
]
ANNOTATIONS = [
    *(Any, int, str, list[Colour], dict[Colour, Point], set[Point], tuple[Row, Address]),
    *(Colour | Status, Tree, Box[Tree], MoreOptions, Point | Row | None, "nowhere"),
]

INVALID: list[Any] = [
    {"$": None},
    {"$": 5},
    {"$": []},
    {"$": {}},
    {"$": "nothing"},
    {"$": "x" * 10_000_000},
    {"$": "key", "v": "x"},
    {"$": "str"},
    {"$": "str", "v": 5},
    {"$": "str", "v": "not base64!"},
    {"$": "str", "v": "/w=="},
    {"$": "safe", "v": None},
    {"$": "safe", "v": {"$": "safe", "v": "x"}},
    {"$": "bytes", "v": "abc"},
    {"$": "bytes", "v": "안녕"},
    {"$": "bytes", "v": [1]},
    {"$": "date", "v": "2024-13-01"},
    {"$": "date", "v": "\ud800"},
    {"$": "date", "v": True},
    {"$": "datetime", "v": "2024-01-01T00:00:00+01:00"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": None},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": True},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Nowhere/Here"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "../../../etc/passwd"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "/etc/localtime"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Europe"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "os.path"},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "A" * 10_000},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": ""},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": 86_400_000_000},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": 10**100},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": 0, "n": 5},
    {"$": "datetime", "v": "2024-01-01T00:00:00", "z": 0, "n": {"$": "str", "v": "!"}},
    {"$": "time", "v": "25:00"},
    {"$": "time", "v": "05:00+01:00"},
    {"$": "timedelta", "v": [1, 2]},
    {"$": "timedelta", "v": [1, 2, 3.5]},
    {"$": "timedelta", "v": [True, 2, 3]},
    {"$": "timedelta", "v": [10**100, 0, 0]},
    {"$": "decimal", "v": "NaN"},
    {"$": "decimal", "v": "sNaN123"},
    {"$": "decimal", "v": "-Infinity"},
    {"$": "decimal", "v": "1.2.3"},
    {"$": "decimal", "v": "1E+99999999999999999999"},
    {"$": "decimal", "v": 1},
    {"$": "uuid", "v": "x"},
    {"$": "uuid", "v": 5},
    {"$": "tuple"},
    {"$": "tuple", "v": {}},
    {"$": "set", "v": [[]]},
    {"$": "set", "v": [{}]},
    {"$": "set", "v": [{"$": "tuple", "v": [[]]}]},
    {"$": "frozenset", "v": "abc"},
    {"$": "dict", "v": {"a": 1}},
    {"$": "dict", "v": [[1, 2, 3]]},
    {"$": "dict", "v": ["ab"]},
    {"$": "dict", "v": [[[], 1]]},
    {"$": "enum", "t": "Colour", "v": "RED"},
    {"$": "dataclass", "t": "Point", "v": {"x": 1, "y": 2}},
    {"$": "namedtuple", "t": "Row", "v": {"number": 1}},
    float("nan"),
    float("inf"),
    [float("-inf")],
    json.loads("1e999"),
    b"bytes",
    object(),
    (1, 2),
]


@pytest.mark.parametrize("data", INVALID, ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: [{"a": data}]], ids=["", "in"])
def test_what_no_dispatch_stores_is_an_invalid_payload(data, wrap):
    with pytest.raises(InvalidPayload) as invalid:
        decode(wrap(data), Any, WHERE)
    text = str(invalid.value)
    assert text.startswith(WHERE)
    assert len(text) < 600
    assert text.isprintable()


@pytest.mark.parametrize("zone", ["../../../etc/passwd", "/etc/localtime", "os.path", "A" * 10_000])
def test_a_zone_is_not_looked_for_outside_the_time_zone_database(zone):
    data = {"$": "datetime", "v": "2024-01-01T00:00:00", "z": zone}
    with pytest.raises(InvalidPayload, match="is not the name of a time zone"):
        decode(data, Any, WHERE)


@pytest.mark.parametrize("levels", [65, 900, 200_000])
@pytest.mark.parametrize("shape", ["[", '{"a":', '{"$":"tuple","v":[', '{"$":"dict","v":[[1,'])
def test_nesting_has_an_end(levels, shape):
    data: Any = 1
    for _ in range(levels):
        data = {
            "[": lambda inner: [inner],
            '{"a":': lambda inner: {"a": inner},
            '{"$":"tuple","v":[': lambda inner: {"$": "tuple", "v": [inner]},
            '{"$":"dict","v":[[1,': lambda inner: {"$": "dict", "v": [[1, inner]]},
        }[shape](data)
    try:
        with pytest.raises(InvalidPayload, match="more than 64 levels deep"):
            decode(data, Any, WHERE)
    finally:
        while isinstance(data, (list, dict)) and data:  # or Python itself recurses to free it
            data = data.pop() if isinstance(data, list) else data.popitem()[1]


def test_a_call_with_little_stack_left_is_no_crash():
    data: Any = 1
    for _ in range(60):
        data = [data]

    def deep(levels: int) -> Any:
        return deep(levels - 1) if levels else decode(data, Any, WHERE)

    used = len([*_frames()])
    with pytest.raises(InvalidPayload, match="nested too deeply"):
        deep(sys.getrecursionlimit() - used - 40)


def _frames() -> Iterator[Any]:
    frame: Any = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_wide_data_costs_what_it_weighs():
    data = [{} for _ in range(200_000)]
    assert decode(data, Any, WHERE) == data


def test_reading_imports_nothing():
    forbidden = mock.Mock(side_effect=AssertionError("imported"))
    data = [
        {"$": "enum", "t": "tests.arguments.shop.Colour", "v": "RED"},
        {"$": "dataclass", "t": "os.system", "v": {"command": "true"}},
        {"$": "os.system", "v": "true"},
        {"$": "py/object", "py/object": "os.system"},
        {"__class__": "os.system", "py/reduce": ["os.system"]},
    ]
    decode([1], Any, WHERE)
    with (
        mock.patch.object(builtins, "__import__", forbidden),
        mock.patch.object(importlib, "import_module", forbidden),
    ):
        for one in data[:4]:
            with pytest.raises(InvalidPayload):
                decode(one, Any, WHERE)
        assert decode(data[4], Any, WHERE) == data[4]


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["RED", "PAID", "x", "2024-01-01", "1.5", "AAAA", "app.note", "Point"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.fixed_dictionaries(
            {"$": st.sampled_from(TAGS)},
            optional={
                "v": inner,
                "t": st.sampled_from(
                    ["Colour", "Status", "Point", "Row", "Address", "Tree", "Box"]
                ),
                "z": inner,
                "f": inner,
                "n": inner,
            },
        )
        | st.fixed_dictionaries(
            {
                "$": st.sampled_from(["dataclass", "namedtuple"]),
                "t": st.sampled_from(["Point", "Row", "Address", "Tree", "Box"]),
                "v": st.dictionaries(
                    st.sampled_from(["x", "y", "number", "street", "value", "children", "content"]),
                    inner,
                    max_size=3,
                ),
            }
        )
    ),
    max_leaves=15,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=_json, annotation=st.sampled_from(ANNOTATIONS))
def test_any_json_gives_a_value_or_an_invalid_payload(data, annotation):
    with contextlib.suppress(InvalidPayload):
        decode(data, annotation, WHERE)


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_a_stored_value_may_be_read_under_any_other_annotation(annotation):
    values = [
        (Colour.RED, Colour),
        ([Row(1, {2})], list[Row]),
        (Tree(Status.PAID, [Tree(Status.OPEN)]), Tree),
        ({Point(1, 2): {3}}, dict[Point, set[int]]),
    ]
    for value, own in values:
        with contextlib.suppress(InvalidPayload):
            decode(stored(value, own), annotation, WHERE)
