"""Values without parts: text, bytes, numbers, dates and times, UUIDs."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
import re
import uuid
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString

from djqueue.arguments.errors import DamagedError, RefusedError, short_repr, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INT_LIMIT: int = 10**4300
"""Python converts no longer number from or to text (`sys.set_int_max_str_digits`)."""

# JSON joins a high surrogate and a low surrogate after it into one character.
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

# The form of zone names. Nothing that matches leads out of the time zone database's folder.
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*\Z")

_MICROSECOND = dt.timedelta(microseconds=1)


def is_plain(text: str) -> bool:
    """Return whether JSON preserves this text."""
    return text.isascii() or _SURROGATE_PAIR.search(text) is None


def pack_str(value: str) -> Any:
    """Return the text itself, or a form of it that JSON preserves."""
    if is_plain(value):
        return value
    raw = value.encode("utf-8", "surrogatepass")
    return {"$": "str", "v": base64.b64encode(raw).decode("ascii")}


def pack_int(value: int) -> int:
    """Return the number itself. Raises `RefusedError` for one that Python cannot parse again."""
    # The first half is for speed: comparing with a number of 4,300 digits is slow.
    if -(2**63) <= value < 2**63 or -INT_LIMIT < value < INT_LIMIT:
        return value
    raise RefusedError(
        "is an int of more than 4,300 digits. Pass it as bytes or as a hexadecimal str."
    )


def pack_float(value: float) -> float:
    """Return the number itself. Raises `RefusedError` for nan and infinity."""
    if math.isfinite(value):
        return value
    raise RefusedError(f"is the float {value}, which JSON cannot represent. Pass None instead.")


def _pack_safe(value: SafeString) -> Any:
    return {"$": "safe", "v": pack_str(str.__str__(value))}


def _pack_bytes(value: bytes) -> Any:
    return {"$": "bytes", "v": base64.b64encode(value).decode("ascii")}


def _pack_date(value: dt.date) -> Any:
    return {"$": "date", "v": value.isoformat()}


def _pack_datetime(value: dt.datetime) -> Any:
    return {"$": "datetime", "v": value.replace(tzinfo=None).isoformat(), **_pack_zone(value)}


def _pack_time(value: dt.time) -> Any:
    return {"$": "time", "v": value.replace(tzinfo=None).isoformat(), **_pack_zone(value)}


def _pack_timedelta(value: dt.timedelta) -> Any:
    return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def _pack_decimal(value: Decimal) -> Any:
    if not value.is_finite():
        raise RefusedError(f"is the Decimal {value}, which is not a number. Pass None instead.")
    return {"$": "decimal", "v": str(value)}


def _pack_uuid(value: uuid.UUID) -> Any:
    return {"$": "uuid", "v": value.hex}


def _pack_zone(value: dt.datetime | dt.time) -> dict[str, Any]:
    """Return ``f`` (fold), ``z`` (zone name, or offset in microseconds), ``n`` (offset's name)."""
    packed: dict[str, Any] = {"f": 1} if value.fold else {}
    zone = value.tzinfo
    if zone is None:
        return packed
    if type(zone) is ZoneInfo and zone.key and _ZONE.match(zone.key):
        return {**packed, "z": zone.key}
    if type(zone) is dt.timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        packed["z"] = offset // _MICROSECOND
        if name != dt.timezone(offset).tzname(None):
            packed["n"] = pack_str(name)
        return packed
    raise RefusedError(
        f"has a time zone of type {type_name(type(zone))}, which has no name to restore it by. "
        "Use zoneinfo.ZoneInfo or datetime.timezone."
    )


PACK: Mapping[type, Callable[[Any], Any]] = {
    str: pack_str,
    int: pack_int,
    float: pack_float,
    bool: lambda value: value,
    type(None): lambda value: value,
    SafeString: _pack_safe,
    bytes: _pack_bytes,
    dt.date: _pack_date,
    dt.datetime: _pack_datetime,
    dt.time: _pack_time,
    dt.timedelta: _pack_timedelta,
    Decimal: _pack_decimal,
    uuid.UUID: _pack_uuid,
}

FREE: Mapping[type, Callable[[Any], Any]] = {
    kind: pack for kind, pack in PACK.items() if kind not in (bytes, SafeString)
}
"""The types that every annotation allows."""


def packer_of_test_clock(kind: type) -> Callable[[Any], Any] | None:
    """Return the packer for a test clock's replacement of a date class, or None.

    Libraries that fake time replace ``datetime.datetime`` with a subclass, so every "now" in the
    project is an instance of it. A worker restores it as the real class.
    """
    if kind is dt.datetime:
        return _pack_datetime
    return _pack_date if kind is dt.date else None


def part(data: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """Return a part of a tagged value. Raises `DamagedError` unless it is of type `kind`, where
    True and False do not count as numbers.
    """
    value = data.get(key)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise DamagedError(
        f'the "{key}" of a {short_repr(data.get("$"))} is of type {type(value).__name__}'
    )


def unpack_text(data: Any) -> str:
    """Return the text of its stored form, as made by `pack_str`."""
    if isinstance(data, str):
        return data
    if isinstance(data, dict) and data.get("$") == "str":
        return _raw(data).decode("utf-8", "surrogatepass")
    raise DamagedError(f"a text is of type {type(data).__name__}")


def _raw(data: Mapping[str, Any]) -> bytes:
    return base64.b64decode(part(data, "v", str), validate=True)


def _unpack_date(data: Mapping[str, Any]) -> dt.date:
    return dt.date.fromisoformat(part(data, "v", str))


def _unpack_datetime(data: Mapping[str, Any]) -> dt.datetime:
    value = dt.datetime.fromisoformat(part(data, "v", str))
    if value.tzinfo is not None:
        raise DamagedError("a datetime is stored with an offset inside its text")
    return value.replace(tzinfo=_zone(data), fold=_fold(data))


def _unpack_time(data: Mapping[str, Any]) -> dt.time:
    value = dt.time.fromisoformat(part(data, "v", str))
    if value.tzinfo is not None:
        raise DamagedError("a time is stored with an offset inside its text")
    return value.replace(tzinfo=_zone(data), fold=_fold(data))


def _unpack_timedelta(data: Mapping[str, Any]) -> dt.timedelta:
    parts = part(data, "v", list)
    if len(parts) != 3 or any(type(number) is not int for number in parts):
        raise DamagedError("a timedelta is not three whole numbers")
    return dt.timedelta(*parts)


def _unpack_decimal(data: Mapping[str, Any]) -> Decimal:
    value = Decimal(part(data, "v", str))
    if not value.is_finite():
        raise DamagedError("a Decimal is not a number")
    return value


def _fold(data: Mapping[str, Any]) -> int:
    return 1 if "f" in data else 0


def _zone(data: Mapping[str, Any]) -> dt.tzinfo | None:
    if "z" not in data:
        return None
    zone = part(data, "z", (str, int))
    if isinstance(zone, int):
        offset = dt.timedelta(microseconds=zone)
        return dt.timezone(offset, unpack_text(data["n"])) if "n" in data else dt.timezone(offset)
    if len(zone) > 80 or not _ZONE.match(zone):
        raise DamagedError(f"{short_repr(zone)} is not the name of a time zone")
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise DamagedError(
            f"this machine's time zone database has no {short_repr(zone)} "
            "(`pip install tzdata` installs a current one)"
        ) from None


UNPACK: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "str": unpack_text,
    "safe": lambda data: SafeString(unpack_text(data.get("v"))),
    "bytes": _raw,
    "date": _unpack_date,
    "datetime": _unpack_datetime,
    "time": _unpack_time,
    "timedelta": _unpack_timedelta,
    "decimal": _unpack_decimal,
    "uuid": lambda data: uuid.UUID(hex=part(data, "v", str)),
}

UNPACK_ERRORS = (ValueError, OverflowError, InvalidOperation, binascii.Error)
"""Errors that the constructors of these types raise for an invalid text."""
