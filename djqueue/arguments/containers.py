"""Values with parts: list, tuple, set, frozenset, dict."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from djqueue.arguments.errors import ArgumentError, DamagedError, deeper, deeper_stored, short_repr
from djqueue.arguments.scalars import is_plain, part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from djqueue.arguments.value_codec import ValueCodec

TAG = "$"
"""The key that makes a JSON object a value of another type: ``{"$": "date", "v": …}``."""


def _pack_list(value: list[Any], codec: ValueCodec, depth: int) -> list[Any]:
    return _pack_items(value, codec.item, deeper(depth))


def _pack_items(values: Iterable[Any], codec: ValueCodec, depth: int) -> list[Any]:
    packed: list[Any] = []
    try:
        for value in values:
            packed.append(codec.pack(value, depth))  # noqa: PERF401 - its length is the error's index
    except ArgumentError as error:
        error.at(f"[{len(packed)}]")
        raise
    return packed


def _pack_tuple(value: tuple[Any, ...], codec: ValueCodec, depth: int) -> Any:
    depth = deeper(depth)
    packed: list[Any] = []
    try:
        for index, item in enumerate(value):
            packed.append(codec.position(index, len(value)).pack(item, depth))
    except ArgumentError as error:
        error.at(f"[{len(packed)}]")
        raise
    return {TAG: "tuple", "v": packed}


def _pack_set(value: set[Any] | frozenset[Any], codec: ValueCodec, depth: int) -> Any:
    depth = deeper(depth)
    try:
        packed = [codec.item.pack(item, depth) for item in value]
    except ArgumentError as error:
        error.at("{…}")
        raise
    # Equal sets have the same stored form in every process: unique keys are hashes of it.
    packed.sort(key=_canonical)
    return {TAG: type(value).__name__, "v": packed}


def _canonical(packed: Any) -> str:
    return json.dumps(packed, sort_keys=True)


def _pack_dict(value: dict[Any, Any], codec: ValueCodec, depth: int) -> Any:
    depth = deeper(depth)
    key: Any = None
    try:
        if TAG not in value and _is_object(value):
            packed = {}
            for key, item in value.items():
                packed[key] = codec.entry(key).pack(item, depth)
            return packed
        pairs = []
        for key, item in value.items():
            packed_key = codec.key.pack(key, depth)
            pairs.append([packed_key, codec.entry(key).pack(item, depth)])
    except ArgumentError as error:
        error.at(_step(key))
        raise
    return {TAG: "dict", "v": pairs}


def _is_object(value: dict[Any, Any]) -> bool:
    """Return whether JSON preserves the keys."""
    for key in value:  # noqa: SIM110 - all() costs more than the rest for the usual few keys
        if type(key) is not str or not is_plain(key):
            return False
    return True


def _step(key: Any) -> str:
    return f"[{short_repr(key) if type(key) in (str, int) else type(key).__name__}]"


PACK: Mapping[type, Callable[[Any, ValueCodec, int], Any]] = {
    list: _pack_list,
    tuple: _pack_tuple,
    set: _pack_set,
    frozenset: _pack_set,
    dict: _pack_dict,
}


def unpack_list(data: list[Any], codec: ValueCodec, depth: int) -> list[Any]:
    """Return the list of its stored form."""
    item, depth = codec.item, deeper_stored(depth)
    values: list[Any] = []
    try:
        for stored in data:
            values.append(item.unpack(stored, depth))  # noqa: PERF401 - as in `_pack_items`
    except ArgumentError as error:
        error.at(f"[{len(values)}]")
        raise
    return values


def unpack_object(data: dict[str, Any], codec: ValueCodec, depth: int) -> dict[str, Any]:
    """Return the dict of its stored form, for keys that are all text."""
    depth = deeper_stored(depth)
    values: dict[str, Any] = {}
    key = ""
    try:
        for key, stored in data.items():
            values[key] = codec.entry(key).unpack(stored, depth)
    except ArgumentError as error:
        error.at(_step(key))
        raise
    return values


def _unpack_tuple(data: Mapping[str, Any], codec: ValueCodec, depth: int) -> tuple[Any, ...]:
    stored, depth = part(data, "v", list), deeper_stored(depth)
    values: list[Any] = []
    try:
        for index, item in enumerate(stored):
            values.append(codec.position(index, len(stored)).unpack(item, depth))
    except ArgumentError as error:
        error.at(f"[{len(values)}]")
        raise
    return tuple(values)


def _unpack_set(data: Mapping[str, Any], codec: ValueCodec, depth: int) -> set[Any]:
    items = unpack_list(part(data, "v", list), codec, depth)
    _refuse_unhashable(items)
    return set(items)


def _unpack_frozenset(data: Mapping[str, Any], codec: ValueCodec, depth: int) -> frozenset[Any]:
    return frozenset(_unpack_set(data, codec, depth))


def _unpack_pairs(data: Mapping[str, Any], codec: ValueCodec, depth: int) -> dict[Any, Any]:
    depth = deeper_stored(depth)
    pairs = part(data, "v", list)
    for pair in pairs:
        if type(pair) is not list or len(pair) != 2:
            raise DamagedError("a dict is not stored as pairs of a key and a value")
    keys = [codec.key.unpack(pair[0], depth) for pair in pairs]
    _refuse_unhashable(keys)
    values: dict[Any, Any] = {}
    for key, pair in zip(keys, pairs, strict=True):
        try:
            values[key] = codec.entry(key).unpack(pair[1], depth)
        except ArgumentError as error:
            error.at(_step(key))
            raise
    return values


MOST_ALIKE = 1000
"""Keys with the same hash. Python compares each with all others, which is quadratic."""


def _refuse_unhashable(keys: list[Any]) -> None:
    """Raise `DamagedError` for a key without a hash, and for too many keys with the same hash."""
    hashes = []
    for key in keys:
        try:
            hashes.append(hash(key))
        except Exception as error:  # noqa: BLE001 - a dataclass may have a __hash__ of the project's
            raise DamagedError(
                f"a {type(key).__name__} cannot be in a set or the key of a dict: {error}"
            ) from None
    if len(hashes) > MOST_ALIKE:
        ((_, alike),) = Counter(hashes).most_common(1)
        if alike > MOST_ALIKE:
            raise DamagedError(f"{alike:,} keys of a set or dict have the same hash")


UNPACK: Mapping[str, Callable[[Mapping[str, Any], ValueCodec, int], Any]] = {
    "tuple": _unpack_tuple,
    "set": _unpack_set,
    "frozenset": _unpack_frozenset,
    "dict": _unpack_pairs,
}
