"""Error texts for values that cannot be queued: why, and what to pass instead."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import io
import types
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.files import File
from django.db.models import Manager
from django.db.models.query import RawQuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import LazyObject, Promise

from djqueue.arguments.errors import RefusedError, type_name
from djqueue.arguments.named import kind_of

if TYPE_CHECKING:
    from djqueue.arguments.value_codec import ValueCodec

_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
    types.ModuleType,
    type,
)

_REMEDIES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (Promise, "It is a lazy translation: call str() on it."),
    (HttpRequest, "Pass what the job needs from it, such as its user or a part of its data."),
    (HttpResponseBase, "Pass its content or its status."),
    (File, "Save it with a storage and pass its name."),
    (io.IOBase, "Save it with a storage and pass its name, or pass what it holds."),
    ((bytearray, memoryview), "Call bytes() on it."),
    (Manager, "Pass its .all(), or the filter as arguments."),
    (RawQuerySet, "Pass a list of keys."),
    (LazyObject, "Pass the object inside it."),
    (
        (Awaitable, AsyncIterator),
        "Await it and pass the result.",
    ),
    (Iterator, "It can be read once only: call list() on it."),
    ((range, collections.deque), "Call list() on it."),
    (
        (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView),
        "Call list() on it.",
    ),
    (_FUNCTIONS, "Code cannot be an argument: pass a name, and look it up in the job."),
    (BaseException, "Pass its str(), or what the job needs from it."),
    (dt.tzinfo, "Pass its name, and make it in the job."),
)

_PLAIN: tuple[type, ...] = (
    *(bool, int, float, complex, str, bytes, list, dict, tuple, set, frozenset),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
)


def refusal(value: Any, codec: ValueCodec) -> RefusedError:
    """Return the error for this value. Its text never has the value, which may be a secret."""
    kind = type(value)
    if kind is bytes:
        return RefusedError("is bytes, but annotated with another type. Correct one of the two.")
    start = f"is of type {type_name(kind)}, which cannot be queued."
    if value.__class__.__name__ == "AnonymousUser":  # perhaps lazy, as `request.user` is
        start += " The user is anonymous and has no row to fetch again: pass None instead."
    what = kind_of(kind)
    if what is not None:
        return RefusedError(f"is the {what} {type_name(kind)}, {_annotate(kind, codec)}")
    for types_, remedy in _REMEDIES:
        if isinstance(value, types_):
            return RefusedError(f"{start} {remedy}")
    for base in _PLAIN:
        if issubclass(kind, base):
            if base is complex:
                break
            return RefusedError(
                f"is of type {type_name(kind)}, a subclass of {type_name(base)} that would be "
                f"restored as its base class. {_convert(base)}"
            )
    return RefusedError(
        f"{start} Pass plain values (None, bool, int, float, str, list, dict, dates, Decimal, "
        "UUID), a saved model instance, or a dataclass that the annotation names."
    )


def _annotate(kind: type, codec: ValueCodec) -> str:
    instead = "its .value" if issubclass(kind, enum.Enum) else "a dict or a tuple"
    for name in codec.unresolved:
        return (
            f'and the annotation "{name}" that should name it could not be resolved. Import that '
            f"name where the module can find it when it runs, or pass {instead}."
        )
    return (
        "which can be restored only where an annotation names it. "
        f"Annotate the argument with {kind.__qualname__}, or pass {instead}."
    )


def _convert(base: type) -> str:
    if issubclass(base, (dt.date, dt.time, dt.timedelta)):
        return f"Convert it to a {type_name(base)}."
    return f"Call {base.__name__}() on it."
