"""Whatever is accepted comes back exactly as it was."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils.safestring import mark_safe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.arguments.shop import Access, Address, Colour, Point, Row, Status, Tree
from tests.arguments.support import assert_comes_back

text = st.text(st.characters(), max_size=30)  # with surrogates and NUL
zones = st.one_of(
    st.none(),
    st.timezones(),
    st.builds(
        dt.timezone,
        st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)),
    ),
    st.builds(dt.timezone, st.just(dt.timedelta(hours=2)), text),
)
datetimes = st.builds(
    lambda value, fold, zone: value.replace(fold=fold, tzinfo=zone),
    st.datetimes(),
    st.integers(0, 1),
    zones,
)
times = st.builds(
    lambda value, fold, zone: value.replace(fold=fold, tzinfo=zone),
    st.times(),
    st.integers(0, 1),
    zones,
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
    text.map(mark_safe),
    st.binary(),
    st.dates(),
    datetimes,
    times,
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
)
hashable = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashable, max_size=4),
        st.dictionaries(text, inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$", "v", "t", "m", "k"]), inner, max_size=4),
    ),
    max_leaves=20,
)
settle = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settle
@given(values)
def test_any_value_that_needs_no_annotation(value):
    assert_comes_back(value)


points = st.builds(Point, st.floats(allow_nan=False, allow_infinity=False), st.integers())
trees = st.recursive(
    st.builds(Tree, st.sampled_from(Status)),
    lambda inner: st.builds(Tree, st.sampled_from(Status), st.lists(inner, max_size=3), inner),
    max_leaves=6,
)
annotated = st.one_of(
    st.tuples(st.just(Colour), st.sampled_from(Colour)),
    st.tuples(st.just(Access), st.integers(0, 3).map(Access)),
    st.tuples(st.just(Tree), trees),
    st.tuples(
        st.just(dict[Point, list[Colour | Row]]),
        st.dictionaries(
            points, st.lists(st.sampled_from(Colour) | st.builds(Row, st.integers(), values))
        ),
    ),
    st.tuples(
        st.just(tuple[Address, Status | None, Any]),
        st.tuples(st.builds(Address, text), st.none() | st.sampled_from(Status), values),
    ),
    st.tuples(st.just(set[Point | Colour]), st.sets(points | st.sampled_from(Colour), max_size=4)),
)


@settle
@given(annotated)
def test_any_value_that_needs_its_annotation(pair):
    annotation, value = pair
    assert_comes_back(value, annotation)
