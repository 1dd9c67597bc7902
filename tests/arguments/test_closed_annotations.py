"""What an annotation does not leave room for cannot be put there by a payload."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pytest
from django.db.models import QuerySet
from django.utils.safestring import SafeString, mark_safe

from djqueue.errors import InvalidPayload, NotSerializable
from tests.app.models import Author, Note
from tests.arguments import shop
from tests.arguments.support import WHERE, decode, encode, round_trip

pytestmark = pytest.mark.django_db

CLOSED = [
    *(int, str, float, bool, int | str | None, list[int], dict[str, int], tuple[int, ...]),
    *(Sequence[str], Literal["a", "b"], set[str], shop.Options),
]


def inside(annotation: Any, data: Any) -> Any:
    """`data` where the annotation is about a part."""
    origin = getattr(annotation, "__origin__", None)
    if origin is dict:
        return {"a": data}
    if origin is None or annotation == int | str | None or origin is Literal:
        return data
    if origin in (tuple, set):
        return {"$": origin.__name__, "v": [data]}
    return [data]


@pytest.mark.parametrize("annotation", CLOSED, ids=str)
@pytest.mark.parametrize(
    "data",
    [
        {"$": "model", "m": "app.note", "k": 1},
        {"$": "queryset", "m": "app.note", "k": [1]},
        {"$": "bytes", "v": "AAAA"},
    ],
    ids=lambda data: data["$"],
)
def test_a_payload_cannot_put_it_there(annotation, data):
    Note.objects.create(pk=1, text="x")
    with pytest.raises(InvalidPayload):
        decode(inside(annotation, data), annotation)


def test_a_queryset_is_not_a_list_of_numbers():
    Note.objects.create(pk=1, text="x")
    with pytest.raises(InvalidPayload):
        decode({"$": "queryset", "m": "app.note", "k": [1]}, list[int])


@pytest.mark.parametrize("annotation", [int, str, list[int]], ids=str)
def test_a_dispatch_says_so_at_once(annotation):
    note = Note.objects.create(text="x")
    for value in (note, Note.objects.all(), b"x"):
        with pytest.raises(NotSerializable, match=r"annotated|type"):
            encode(value, annotation, WHERE)


@pytest.mark.parametrize("annotation", [Any, object, "nowhere", Note, Note | int, None], ids=str)
def test_what_it_names_or_leaves_open_may_be_there(annotation):
    note = Note.objects.create(text="x")
    assert round_trip(note, annotation) == note


@pytest.mark.parametrize("annotation", [list, list[Note], Iterable[Note], list[Any]], ids=str)
def test_lists_of_models_may_be_there(annotation):
    note = Note.objects.create(text="x")
    assert round_trip([note], annotation) == [note]


@pytest.mark.parametrize("annotation", [QuerySet, QuerySet[Note], Iterable[Note]], ids=str)
def test_querysets_may_be_there(annotation):
    note = Note.objects.create(text="x")
    assert list(round_trip(Note.objects.all(), annotation)) == [note]


def test_another_model_is_refused_as_before():
    author = Author.objects.create()
    with pytest.raises(NotSerializable, match="annotated Note"):
        encode(author, Note, WHERE)


@pytest.mark.parametrize("annotation", [bytes, bytes | str, Sequence[int], Any], ids=str)
def test_bytes_may_be_where_they_are_named(annotation):
    assert round_trip(b"\0\xff", annotation) == b"\0\xff"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [(str, str), (str | None, str), (SafeString, SafeString), (Any, SafeString)],
    ids=str,
)
def test_text_is_safe_in_html_only_where_that_is_named(annotation, kind):
    assert type(round_trip(mark_safe("<b>"), annotation)) is kind
    assert type(decode({"$": "safe", "v": "<b>"}, annotation)) is kind


@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_keys_that_were_made_to_collide_are_refused_at_once(tag):
    keys = [number * (2**61 - 1) for number in range(1, 40_000)]
    data = {"$": tag, "v": [[key, 0] for key in keys] if tag == "dict" else keys}
    began = time.monotonic()
    with pytest.raises(InvalidPayload, match="same hash"):
        decode(data, Any)
    assert time.monotonic() - began < 2


def test_many_ordinary_keys_come_back():
    numbers = set(range(-5000, 5000))
    assert round_trip(numbers) == numbers
    assert round_trip(dict.fromkeys(numbers, 1)) == dict.fromkeys(numbers, 1)
