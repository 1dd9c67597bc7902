"""What a queue cannot carry is refused at the dispatch, with the type and what to do."""

from __future__ import annotations

import array
import asyncio
import collections
import enum
import io
import logging
import re
import sys
import threading
import weakref
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.files.base import ContentFile
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.translation import gettext_lazy, ngettext_lazy

from djqueue.errors import NotSerializable, QueueError
from tests.app.models import Note
from tests.arguments.support import WHERE, encode, stored


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Mapping(dict):
    pass


class Pair(tuple):
    __slots__ = ()


async def _coroutine() -> None: ...


def _closed_coroutine() -> Any:
    coroutine = _coroutine()
    coroutine.close()
    return coroutine


@pytest.mark.parametrize(
    ("make", "kind", "remedy"),
    [
        (lambda: gettext_lazy("Yes"), "__proxy__", "call str() on it"),
        (lambda: ngettext_lazy("%d thing", "%d things", 2), "__proxy__", "call str() on it"),
        (lambda: lazystr("x"), "__proxy__", "call str() on it"),
        (HttpRequest, "HttpRequest", "Pass what the job needs from it"),
        (HttpResponse, "HttpResponse", "Pass its content"),
        (lambda: ContentFile(b"x", "x.txt"), "ContentFile", "Save it with a storage"),
        (lambda: io.BytesIO(b"x"), "BytesIO", "Save it with a storage"),
        (lambda: (x for x in "abc"), "generator", "call list() on it"),
        (lambda: iter([1]), "list_iterator", "call list() on it"),
        (lambda: map(str, [1]), "map", "call list() on it"),
        (lambda: {}.keys(), "dict_keys", "Call list() on it"),
        (lambda: range(3), "range", "Call list() on it"),
        (lambda: collections.deque([1]), "deque", "Call list() on it"),
        (_closed_coroutine, "coroutine", "Await it"),
        (lambda: _closed_coroutine, "function", "Code cannot be an argument"),
        (lambda: len, "builtin_function", "Code cannot be an argument"),
        (lambda: [].append, "builtin_function", "Code cannot be an argument"),
        (lambda: Note, "ModelBase", "Code cannot be an argument"),
        (lambda: sys, "module", "Code cannot be an argument"),
        (lambda: ValueError("x"), "ValueError", "Pass its str()"),
        (lambda: ZoneInfo("UTC"), "ZoneInfo", "Pass its name"),
        (lambda: bytearray(b"x"), "bytearray", "Call bytes() on it"),
        (lambda: memoryview(b"x"), "memoryview", "Call bytes() on it"),
        (lambda: Text("x"), "Text", "subclass of str that would be restored as its base class"),
        (lambda: Number(1), "Number", "Call int() on it"),
        (lambda: Mapping(), "Mapping", "Call dict() on it"),
        (lambda: Pair(), "Pair", "Call tuple() on it"),
        (lambda: collections.defaultdict(list), "defaultdict", "Call dict() on it"),
        (lambda: collections.OrderedDict(a=1), "OrderedDict", "Call dict() on it"),
        (lambda: collections.Counter("aab"), "Counter", "Call dict() on it"),
        (lambda: QueryDict("a=1"), "QueryDict", "Call dict() on it"),
        (lambda: 1j, "complex", "Pass plain values"),
        (object, "object", "Pass plain values"),
        (threading.Lock, "lock", "Pass plain values"),
        (lambda: logging.getLogger("x"), "Logger", "Pass plain values"),
        (lambda: array.array("i", [1]), "array", "Pass plain values"),
        (AnonymousUser, "AnonymousUser", "Pass plain values"),
        (lambda: Note.objects, "Manager", "Pass its .all()"),
        (lambda: Note.objects.raw("SELECT 1"), "RawQuerySet", "Pass a list of keys"),
        (lambda: SimpleLazyObject(AnonymousUser), "SimpleLazyObject", "Pass the object inside"),
        (lambda: re.compile("x"), "Pattern", "Pass plain values"),
        (lambda: ..., "ellipsis", "Pass plain values"),
        (lambda: NotImplemented, "NotImplementedType", "Pass plain values"),
        (lambda: weakref.WeakSet(), "WeakSet", "Pass plain values"),
        (lambda: enum.Enum("Kind", "ONE").ONE, "Kind", "Annotate the argument with Kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("annotation", [Any, str, list[int]])
def test_each_is_refused_with_its_type_and_what_to_do(make, kind, remedy, annotation):
    value = make()
    for whole in (value, [value], {"key": (value,)}):
        with pytest.raises(NotSerializable) as refused:
            stored(whole, annotation)
        text = str(refused.value)
        assert text.startswith(WHERE)
        assert kind in text
        assert remedy in text
        assert text.endswith(".")


def test_a_refusal_is_a_type_error_too():
    with pytest.raises(TypeError) as refused:
        stored(object())
    assert isinstance(refused.value, QueueError)


def test_a_refusal_does_not_show_the_value():
    class Secret:
        def __repr__(self) -> str:
            raise AssertionError("shown")

    with pytest.raises(NotSerializable, match="Secret"):
        stored({"password": Secret()})


def test_the_place_may_be_made_only_when_it_is_needed():
    def where() -> str:
        return 'shop.Send: argument "rows"'

    assert encode([1], Any, where) == [1]
    with pytest.raises(NotSerializable, match=r'^shop\.Send: argument "rows" \(rows\[0\]\) is of'):
        encode([object()], Any, where)


def test_a_place_without_a_name_is_told_all_the_same():
    with pytest.raises(NotSerializable, match=r"^the result of shop\.Send \(value\[0\]\) is of"):
        encode([object()], Any, "the result of shop.Send")


def test_asyncio_futures_are_to_be_awaited():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(NotSerializable, match="Await it"):
            stored(loop.create_future())
    finally:
        loop.close()
