"""Enum, NamedTuple and dataclass come back where the annotation names them."""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypeVar, Union

import pytest

from djqueue.errors import InvalidPayload, NotSerializable
from tests.arguments.shop import (
    Access,
    Address,
    Box,
    Colour,
    Doubled,
    MoreOptions,
    Needy,
    Picky,
    Point,
    Priority,
    Row,
    Status,
    Tree,
)
from tests.arguments.support import WHERE, assert_comes_back, decode, round_trip, stored

Hue = NewType("Hue", Colour)
C = TypeVar("C", bound=Colour)
Pair = collections.namedtuple("Pair", "left right")


class Loud(Row):
    """A NamedTuple with a constructor of its own, which must not run again."""

    __slots__ = ()

    def __new__(cls, number: int) -> Loud:
        return super().__new__(cls, number + 1000)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Colour.RED, Colour),
        (Colour.GREEN, Colour),
        (Colour.CRIMSON, Colour),
        (Status.PAID, Status),
        (Priority.HIGH, Priority),
        (Access.READ, Access),
        (Access.READ | Access.WRITE, Access),
        (Access(0), Access),
        (Colour.RED, Optional[Colour]),  # noqa: UP045 - spelled as older code does
        (None, Colour | None),
        (Colour.RED, Union[int, Colour]),  # noqa: UP007 - spelled as older code does
        (Colour.RED, Annotated[Colour, "note", []]),
        (Colour.RED, Hue),
        (Colour.RED, C),
        (Status.PAID, Literal[Status.PAID]),
        ([Colour.RED], list[Colour]),
        ([Colour.RED, None], Sequence[Colour | None]),
        ({Colour.RED}, set[Colour]),
        (frozenset({Colour.RED}), frozenset[Colour]),
        ((Colour.RED, Colour.GREEN), tuple[Colour, ...]),
        ((1, Colour.RED, Status.PAID), tuple[int, Colour, Status]),
        ((Status.PAID, 1), tuple[int, Colour, Status] | tuple[Status, int]),
        ([Colour.RED], Iterable[Colour]),
        ((Colour.RED,), Iterable[Colour]),
        ({"a": Colour.RED}, dict[str, Colour]),
        ({Colour.RED: [Status.OPEN]}, Mapping[Colour, list[Status]]),
        ({"a": [{"b": (Colour.RED,)}]}, dict[str, list[dict[str, tuple[Colour, ...]]]]),
        ([Colour.RED, Status.PAID], list[Colour] | list[Status]),
        ({"colour": Colour.RED, "count": 1}, MoreOptions),
        ({"status": Status.OPEN, "else": 1}, MoreOptions),
        (Address("Main St", Colour.GREEN, [Colour.RED]), Address),
        (Address("x"), Address | None),
        ([Point(1.5, -0.0)], list[Point]),
        ({Point(1, 2): Point(3, 4)}, dict[Point, Point]),
        (Row(1, {2: 3}, Colour.GREEN), Row),
        (Pair(1, ("x",)), Pair),
        (Loud(5), Loud),
        (Tree(Status.PAID, [Tree(Status.OPEN)], Tree(Status.OPEN)), Tree),
        (Box(Colour.RED, [Colour.GREEN]), Box[Colour]),
        (Box(1), Box),
        (
            [Point(1, 2), Row(1), Colour.RED, {"x": Address("y")}],
            list[Point | Row | Colour | dict[str, Address]],
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_each_comes_back_as_the_class_the_annotation_names(value, annotation):
    assert_comes_back(value, annotation)


def test_an_enum_with_an_alias_comes_back_as_the_very_same_member():
    assert round_trip(Colour.CRIMSON, Colour) is Colour.RED


def test_a_dataclass_keeps_the_values_it_had_and_has_all_its_attributes():
    value = Doubled(4, seen=["a"])
    value.total = 100
    again = round_trip(value, Doubled)
    assert (again.number, again.total, again.seen, again.cache) == (8, 100, ["a"], {})


@pytest.mark.parametrize("value", [Colour.RED, Status.PAID, Access.READ, Priority.LOW])
@pytest.mark.parametrize("annotation", [Any, str, list[Colour], object])
def test_an_enum_that_no_annotation_names_is_refused(value, annotation):
    with pytest.raises(NotSerializable) as refused:
        stored(value, annotation)
    assert f"Annotate the argument with {type(value).__qualname__}" in str(refused.value)
    assert "or pass its .value" in str(refused.value)


@pytest.mark.parametrize("value", [Point(1, 2), Row(1), Pair(1, 2)])
def test_a_dataclass_or_tuple_that_no_annotation_names_is_refused(value):
    with pytest.raises(NotSerializable, match=r"Annotate the argument with .* or pass a dict"):
        stored([value], list[Address])


def test_a_subclass_of_what_the_annotation_names_is_refused():
    @dataclass(frozen=True)
    class Point3(Point):
        z: float = 0

    with pytest.raises(NotSerializable, match="Point3"):
        stored(Point3(1, 2), Point)


def test_a_dataclass_that_could_not_be_made_again_is_refused():
    with pytest.raises(NotSerializable, match=r'its constructor needs "secret".* default'):
        stored(Needy(1, "x"), Needy)


def test_a_part_that_a_queue_cannot_carry_is_named():
    with pytest.raises(NotSerializable, match=r"\(value\[1\]\.when\['x'\]\) is of type object"):
        stored([Row(1), Row(2, {"x": object()})], list[Row])


def test_a_field_that_was_never_set_is_refused():
    value = Address("x")
    del value.lines
    with pytest.raises(NotSerializable, match=r"\(value\.lines\) was never set"):
        stored(value, Address)


class Open(enum.Enum):
    KNOWN = 1

    @classmethod
    def _missing_(cls, value: object) -> Open:
        made = object.__new__(cls)
        made._name_, made._value_ = "MADE", value
        return made


def test_a_member_that_an_enum_makes_up_is_refused():
    with pytest.raises(NotSerializable, match="that is not one of its members"):
        stored(Open(7), Open)


# What happens to stored values when the code changes.


def test_a_class_may_be_renamed_while_jobs_wait():
    class Shade(enum.Enum):
        RED = "rouge"

    assert decode(stored(Colour.RED, Colour), Shade, WHERE) is Shade.RED


def test_a_class_may_be_added_to_the_annotation_while_jobs_wait():
    assert decode(stored(Colour.RED, Colour), Status | Colour, WHERE) is Colour.RED


def test_two_classes_of_one_name_are_told_apart():
    first, second = (enum.Enum("Twin", ["ONE"], module=f"place{n}") for n in (1, 2))
    for value in (first.ONE, second.ONE):
        assert round_trip(value, first | second) is value


def test_fields_that_were_added_since_have_their_defaults():
    old = {"$": "dataclass", "t": "Address", "v": {"street": "x"}}
    assert decode(old, Address, WHERE) == Address("x")
    old = {"$": "namedtuple", "t": "Row", "v": {"number": 1}}
    assert decode(old, Row, WHERE) == Row(1)


@pytest.mark.parametrize(
    ("data", "annotation", "why"),
    [
        ({"$": "enum", "t": "Colour", "v": "BLUE"}, Colour, "no member 'BLUE'"),
        ({"$": "enum", "t": "Colour", "v": "__class__"}, Colour, "no member"),
        ({"$": "enum", "t": "Colour", "v": 1}, Colour, "no member 1"),
        ({"$": "enum", "t": "Access", "v": 1 << 80}, Access, "no flags"),
        ({"$": "enum", "t": "Size", "v": "RED"}, Colour | Status, "does not name"),
        ({"$": "enum", "t": "Colour", "v": "RED"}, Any, "does not name"),
        ({"$": "enum", "t": "Colour", "v": "RED"}, Point, "does not name"),
        ({"$": "dataclass", "t": "Point", "v": {"x": 1}}, Point, "refused its stored fields"),
        (
            {"$": "dataclass", "t": "Point", "v": {"x": 1, "y": 2, "z": 3}},
            Point,
            "no longer has a field 'z'",
        ),
        ({"$": "dataclass", "t": "Picky", "v": {"number": -1}}, Picky, "with a ValueError"),
        ({"$": "dataclass", "t": "Picky", "v": {"__class__": 1}}, Picky, "no longer has a field"),
        ({"$": "namedtuple", "t": "Row", "v": {}}, Row, 'without its "number"'),
        (
            {"$": "namedtuple", "t": "Row", "v": {"number": 1, "_make": 2}},
            Row,
            "no longer has a field",
        ),
        ({"$": "dataclass", "t": "Point", "v": [1, 2]}, Point, "of type list"),
        ({"$": "dataclass", "v": {}}, Point, "of type NoneType"),
    ],
    ids=str,
)
def test_stored_values_that_do_not_fit_the_class_are_damaged(data, annotation, why):
    with pytest.raises(InvalidPayload, match=why):
        decode(data, annotation, WHERE)


class Untyped(NamedTuple):
    anything: object


def test_what_a_field_may_be_says_the_field_not_the_argument():
    with pytest.raises(NotSerializable, match=r"\(value\.anything\) is the enum"):
        stored(Untyped(Colour.RED), Untyped)
