"""Annotations are resolved late, each name for itself."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import pytest

from djqueue import arguments
from djqueue.errors import NotSerializable
from tests.arguments import shop, typing_only
from tests.arguments.support import WHERE, assert_comes_back, decode, encode, stored

FOUND = arguments.resolve_annotations(shop.annotated)


def test_names_are_looked_up_where_the_function_is_written():
    assert FOUND["plain"] is int
    assert FOUND["return"] is shop.Colour
    assert FOUND["literal"] == Literal[shop.Status.PAID, "x"]


def test_a_name_that_is_imported_for_type_checkers_only_is_missing():
    missing = {name: arguments.missing_name(annotation) for name, annotation in FOUND.items()}
    assert {name: one for name, one in missing.items() if one} == {
        "cat": "Cat",
        "dogs": "Hound",
        "nowhere": "Nowhere",
        "nonsense": "Colour[1 / 0]",
        "unknown": "NotDefined.Inner",
        "by_module": "only.Cat",
        "by_path": "tests.arguments.typing_only.Cat",
    }


@pytest.mark.parametrize("name", ["nowhere", "nonsense", "unknown"])
def test_a_name_that_is_nowhere_leaves_room_for_anything(name):
    assert_comes_back([1, "x", {2: (3,)}], FOUND[name])


def test_a_refusal_names_the_annotation_that_could_not_be_resolved():
    with pytest.raises(NotSerializable, match='"Nowhere" that should name it could not be res'):
        stored([shop.Colour.RED], FOUND["nowhere"])
    with pytest.raises(NotSerializable, match=r'"NotDefined\.Inner"'):
        stored(shop.Colour.RED, FOUND["unknown"])
    with pytest.raises(NotSerializable, match=r'"Colour\[1 / 0\]"'):
        stored(shop.Colour.RED, FOUND["nonsense"])


def test_one_name_that_is_nowhere_does_not_spoil_the_others():
    def job(both: shop.Colour | Nowhere, other: shop.Status) -> None:  # noqa: F821
        pass

    found = arguments.resolve_annotations(job)
    assert_comes_back(shop.Colour.RED, found["both"])
    assert_comes_back(shop.Status.PAID, found["other"])


def test_a_class_has_the_annotations_it_inherits_each_resolved_in_its_own_module():
    class Child(shop.Address):
        dog: typing_only.Dog
        other: Child

    found = arguments.resolve_annotations(Child)
    assert found["lines"] == list[shop.Colour]
    assert found["dog"] is typing_only.Dog
    assert found["other"] is Child


def test_a_typed_dict_of_another_module_brings_its_own_names():
    class Extended(shop.MoreOptions):
        dog: typing_only.Dog

    value = {"colour": shop.Colour.RED, "dog": typing_only.Dog("Rex"), "status": shop.Status.PAID}
    assert_comes_back(value, Extended)


def test_methods_and_wrapped_functions_are_looked_through():
    import functools

    class Job:
        def handle(self, colour: shop.Colour) -> None: ...

    @functools.wraps(shop.annotated)
    def wrapper(*args: Any) -> Any: ...

    assert arguments.resolve_annotations(Job().handle)["colour"] is shop.Colour
    assert arguments.resolve_annotations(wrapper)["literal"] == Literal[shop.Status.PAID, "x"]


def test_names_in_text_inside_annotations_that_are_no_text_are_found():
    def job(colours: Any) -> None: ...

    job.__annotations__ = {"colours": list["shop.Colour"]}
    assert_comes_back([shop.Colour.RED], arguments.resolve_annotations(job)["colours"])


def test_an_annotation_is_worked_out_once():
    assert arguments.compile(list[shop.Colour]) is arguments.compile(list[shop.Colour])


class Recursive(TypedDict):
    children: list[Recursive]
    colour: shop.Colour


def test_annotations_that_name_themselves_have_an_end():
    leaf = {"children": [], "colour": shop.Colour.RED}
    assert_comes_back({"children": [leaf, leaf], "colour": shop.Colour.GREEN}, Recursive)


@pytest.mark.parametrize("annotation", ["x[", 5, ..., object(), [int], Literal[1]])
def test_annotations_that_make_no_sense_let_plain_values_pass(annotation):
    assert decode(encode([1], annotation, WHERE), annotation, WHERE) == [1]
