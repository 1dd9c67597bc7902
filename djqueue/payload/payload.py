"""The stored form of a dispatched job.

A payload is one ASCII JSON object:

    {"v":1,"name":"shop.SendReceipt","options":{"tries":3},
     "id":"…","sent":1790000000.123,"arguments":{…}}

Large arguments may be packed: see `djqueue.payload.packing`.

The part before ``,"id":`` is the head. It is the same for every dispatch of a job with the same
options, so it is encoded once and, in a worker, parsed once. Quotes inside JSON strings are
escaped, so the separator cannot occur within the head. Stores never read a payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from djqueue.compat import compact_json
from djqueue.conf.kinds import LONGEST
from djqueue.errors import InvalidPayload, NotSerializable
from djqueue.payload.backoff import Backoff, Exponential, stored_backoff

VERSION = 1
LAST_MOMENT = 253_402_300_799
"""Seconds since the epoch: the end of the year 9999, the last that databases can store."""
MOST_VALUES = 2_000_000
"""The most values in the arguments of one job, with containers and keys. Each becomes an object of
at least 56 bytes when it is read; larger data belongs in a file whose name is passed."""
MOST_LEVELS = 200
"""The deepest nesting of JSON arrays and objects in a payload, which 64 nested containers of an
argument can reach. Code that reads a payload need not recurse deeper."""
_SEPARATOR = ',"id":'
_LONGEST_HEAD = 4096
_encode = compact_json()


@dataclass(frozen=True)
class Limits:
    """The options for retries and timeouts, as of the dispatch. None: the worker's default.

    Durations are in seconds. ``tries`` and ``timeout`` of 0 mean no limit.
    """

    tries: int | None = None
    timeout: float | None = None
    backoff: Backoff | None = None
    jitter: bool = False
    max_exceptions: int | None = None
    max_interruptions: int = 3
    fail_on_timeout: bool = False
    delete_when_missing: bool = False
    atomic: bool | str = False
    encrypted: bool = False
    """See `djqueue.payload.encryption`. It says what the payload is, so it is never replaced."""


GIVEN = ("tries", "backoff", "timeout")
"""Limits that ``using()`` may set for one dispatch. A retry by an operator keeps these, and takes
the others from the code of that time."""
_NO_LIMITS = Limits()
_LIMIT_DEFAULTS = {field.name: field.default for field in fields(Limits)}


@dataclass(frozen=True)
class Head:
    """The part of a payload that many dispatches have in common."""

    name: str
    limits: Limits


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class PackedArguments(NamedTuple):
    """Arguments that are compressed or stored elsewhere."""

    how: str
    """``zlib``, ``stored`` or ``encrypted``."""
    text: str


class Payload(NamedTuple):
    """A parsed payload."""

    id: str
    head: Head
    sent: float
    """The time of the dispatch: seconds since the epoch by the dispatcher's clock."""
    arguments: Mapping[str, Any]
    """Empty while they are `packed`."""
    retry_until: float | None = None
    """Seconds since the epoch. No attempt begins later; overrides ``tries``."""
    tags: tuple[str, ...] = ()
    display_name: str = ""
    """What the class's ``display_name()`` returned; empty where it has no such method."""
    context: Mapping[str, Any] = _NOTHING
    links: Mapping[str, Any] = _NOTHING
    """See `djqueue.payload.links`."""
    packed: PackedArguments | None = None
    """The packed arguments, which `djqueue.payload.store.unpacked` unpacks; None for plain ones."""


@lru_cache(maxsize=1024)
def encode_head(name: str, limits: Limits, given: tuple[str, ...] = ()) -> str:
    """Return a payload's text up to its id. `given` names the limits that ``using()`` has set."""
    options: dict[str, Any] = {
        key: vars(value) if isinstance(value, Exponential) else value
        for key, value in vars(limits).items()
        if value != _LIMIT_DEFAULTS[key]
    }
    if given:
        options["using"] = given
    return f'{{"v":{VERSION},"name":{_encode(name)},"options":{_encode(options)}'


def encode(
    head: str, id: str, sent: float | str, arguments: Mapping[str, Any], more: str = ""
) -> str:
    """Return the payload to store. `sent` is in seconds since the epoch, or their JSON text;
    `arguments` are JSON values; `more` comes from `encode_more`. Raises `ValueError` for nan and
    infinity.
    """
    body = _encode(arguments) if arguments else "{}"
    if len(body) > MOST_VALUES and _values(body) > MOST_VALUES:
        raise NotSerializable(
            f"The arguments hold more than {MOST_VALUES:,} values, the most that a worker reads. "
            "Save them with a storage and pass the file's name. Nothing was queued."
        )
    return f'{head}{_SEPARATOR}"{id}","sent":{sent}{more},"arguments":{body}}}'


def encode_more(**parts: Any) -> str:
    """The text of what most payloads do not have, by the names of `Payload`; None and what is empty
    is left out.
    """
    return "".join(f',"{name}":{_encode(value)}' for name, value in parts.items() if value)


def with_limits(text: str, limits: Limits) -> str:
    """Return `text` with other limits, keeping those that ``using()`` had set. A damaged payload is
    returned unchanged.
    """
    known = known_head(text)
    if known is None:
        return text
    given = known.written["options"].get("using", ())
    given = tuple(name for name in given if name in GIVEN) if isinstance(given, list) else ()
    kept = {name: getattr(known.head.limits, name) for name in (*given, "encrypted")}
    head = encode_head(known.head.name, replace(limits, **kept), given)
    return f"{head}{_SEPARATOR}{text[known.end :]}"


def limits_of(text: str) -> Limits:
    """The limits in a payload; the defaults where it is damaged."""
    known = known_head(text)
    return known.head.limits if known else _NO_LIMITS


class KnownHead(NamedTuple):
    """A parsed head."""

    head: Head
    written: Mapping[str, Any]
    """The JSON object that it was parsed from."""
    end: int
    """The position of the job's id, which follows the head."""


def known_head(text: str) -> KnownHead | None:
    """Return what comes before the id, as `encode_head` made it; None if it is damaged."""
    end = text.find(_SEPARATOR, 0, _LONGEST_HEAD)
    return None if end < 0 else _parse_head(text[:end])


@lru_cache(maxsize=4096)
def _parse_head(text: str) -> KnownHead | None:
    try:
        data = json.loads(text + "}", object_pairs_hook=_once_each)
        return KnownHead(_head(data), data, len(text) + len(_SEPARATOR))
    except (ValueError, RecursionError, InvalidPayload):
        return None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError` for a repeated key: parsers differ about it."""
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a key is repeated")
    return data


def decode(text: str, known: KnownHead | None = None) -> Payload:
    """Parse a stored payload, whose head may be `known`. Raises `InvalidPayload`."""
    known = known or known_head(text)
    if known is None:
        return _decode_unknown(text)
    data = parsed(f'{{"id":{text[known.end :]}', "The payload")
    if len(data) == 3:  # most payloads have only these
        id, sent, arguments = data["id"], data.get("sent"), data.get("arguments")
        usual = type(id) is str and type(sent) is float and type(arguments) is dict
        if usual and 0 <= sent <= LAST_MOMENT:
            return Payload(id, known.head, sent, arguments)
    for key in known.written:
        if key in data:
            raise InvalidPayload(f'The payload has "{key}" twice.')
    return _payload(known.head, data)


def _decode_unknown(text: str) -> Payload:
    """Parse a payload whose head was not made by `encode_head`: it is probably damaged."""
    data = parsed(text, "The payload")
    if not isinstance(data, dict):
        raise InvalidPayload(f"The payload is a JSON {type(data).__name__}, not an object.")
    head = _head(data)
    try:
        json.loads(text, object_pairs_hook=_once_each)
    except ValueError as error:
        raise InvalidPayload(f"The payload cannot be read: {error}.") from None
    return _payload(head, data)


def _payload(head: Head, data: Mapping[str, Any]) -> Payload:
    how = _expect(data, "packed", (str, type(None)), None)
    arguments = _expect(data, "arguments", dict if how is None else str)
    return Payload(
        id=_expect(data, "id", str),
        head=head,
        sent=float(_number(data, "sent", _FLOAT, most=LAST_MOMENT)),
        arguments=arguments if how is None else {},
        retry_until=_number(data, "retry_until", (*_FLOAT, _NONE), None, most=LAST_MOMENT),
        tags=tuple(map(str, _expect(data, "tags", list, ()))),
        display_name=_expect(data, "display_name", str, ""),
        context=_expect(data, "context", dict, _NOTHING),
        links=_expect(data, "links", dict, _NOTHING),
        packed=None if how is None else PackedArguments(how, arguments),
    )


def parsed(text: str, what: str) -> Any:
    """Parse JSON that has not too many values and is not nested too deeply. Raises
    `InvalidPayload`, whose message begins with `what`. Values are counted before they are built.
    """
    small = len(text) <= 2 * MOST_LEVELS  # too short for either limit
    if not small and len(text) > MOST_VALUES and _values(text) > MOST_VALUES:
        raise InvalidPayload(
            f"{what} holds more than {MOST_VALUES:,} values, the most that is read. Save large data"
            " with a storage, and pass the file's name."
        )
    try:
        data = _from_json(text)
    except RecursionError:
        raise InvalidPayload(f"{what} is nested too deeply: djqueue did not write it.") from None
    except ValueError as error:
        raise InvalidPayload(f"{what} is not JSON: {error}.") from None
    if small:
        return data
    if text.count("[") + text.count("{") > MOST_LEVELS and _is_too_deep(data):
        raise InvalidPayload(f"{what} is nested too deeply: djqueue did not write it.")
    return data


def _values(text: str) -> int:
    """Return an upper bound of the number of values in a JSON text. Strings are excluded only where
    that decides, since it takes longer.
    """
    if _marks(text) > MOST_VALUES:
        text = _STRINGS.sub("", text)
    return _marks(text)


_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MOST_LEVELS):
        level = [
            item
            for each in level
            for item in (each.values() if type(each) is dict else each)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _head(data: Any) -> Head:
    if not isinstance(data, dict):
        raise InvalidPayload("The payload is not a JSON object.")
    version = _expect(data, "v", int)
    if version != VERSION:
        raise InvalidPayload(
            f"The payload is of version {version}; this code reads version {VERSION}. "
            "It was probably dispatched by a newer release: update the workers, then retry it."
        )
    options = _expect(data, "options", dict)
    return Head(_expect(data, "name", str), _limits(options))


def _limits(options: Mapping[str, Any]) -> Limits:
    return Limits(
        tries=_number(options, "tries", (int, _NONE), None),
        timeout=_number(options, "timeout", (*_FLOAT, _NONE), None),
        backoff=stored_backoff(options.get("backoff")),
        jitter=_expect(options, "jitter", bool, False),
        max_exceptions=_number(options, "max_exceptions", (int, _NONE), None),
        max_interruptions=_number(options, "max_interruptions", (int,), 3),
        fail_on_timeout=_expect(options, "fail_on_timeout", bool, False),
        delete_when_missing=_expect(options, "delete_when_missing", bool, False),
        atomic=_expect(options, "atomic", (bool, str), False),
        encrypted=_expect(options, "encrypted", bool, False),
    )


_NONE = type(None)
_FLOAT = (int, float)
_REQUIRED = object()


def _number(
    data: Mapping[str, Any],
    key: str,
    types: tuple[type, ...],
    default: Any = _REQUIRED,
    *,
    most: int = LONGEST,
) -> Any:
    """Return a number from `data` that is in range: JSON allows 1e999, which Python reads as
    infinity.
    """
    value = _expect(data, key, types, default)
    if value is not None and not 0 <= value <= most:
        raise InvalidPayload(f'The payload\'s "{key}" is {value!r}, out of range.')
    return value


def _expect(data: Mapping[str, Any], key: str, types: Any, default: Any = _REQUIRED) -> Any:
    value = data.get(key, default)
    if value is default:
        if value is _REQUIRED:
            raise InvalidPayload(f'The payload has no "{key}".')
        return value
    if type(value) is not types and not _is(value, types):
        raise InvalidPayload(f'The payload\'s "{key}" is of type {type(value).__name__}.')
    return value


def _is(value: Any, types: Any) -> bool:
    """Return whether `value` is of one of the types, where True and False are not numbers."""
    if isinstance(value, bool):
        return types is bool or (isinstance(types, tuple) and bool in types)
    return isinstance(value, types)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _from_json(text: str) -> Any:
    """Parse JSON. The decoder's ``decode`` takes twice as long for a short text, as it searches for
    surrounding spaces.
    """
    try:
        data, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        end = -1
    return data if end == len(text) else _decoder.decode(text)
