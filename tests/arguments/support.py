"""What the tests of arguments share."""

from __future__ import annotations

import dataclasses
import enum
import json
import uuid
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from djqueue import arguments

WHERE = 'shop.SendReceipt: argument "value"'


def encode(value: Any, annotation: Any = Any, where: str = WHERE) -> Any:
    return arguments.compile(annotation).encode(value, where)


def decode(data: Any, annotation: Any = Any, where: str = WHERE) -> Any:
    return arguments.compile(annotation).decode(data, where)


def stored(value: Any, annotation: Any = Any) -> Any:
    """What a worker reads: through the JSON text of a payload, which is ASCII without NaN."""
    text = json.dumps(encode(value, annotation), allow_nan=False)
    assert text.isascii()
    return json.loads(text)


def round_trip(value: Any, annotation: Any = Any) -> Any:
    return decode(stored(value, annotation), annotation)


def exact(value: Any) -> Any:
    """A form of a value that is equal only for what is the same in type and content, all over."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return kind, value.value
    if isinstance(value, (list, tuple)):
        return kind, [exact(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((exact(item) for item in value), key=repr)
    if isinstance(value, dict):
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if dataclasses.is_dataclass(value):
        return kind, exact(vars(value))
    if isinstance(value, (datetime, time)):
        zone = value.tzinfo
        plain = value.replace(tzinfo=None)
        return kind, repr(plain), type(zone), repr(zone), value.fold
    if isinstance(value, (float, Decimal, uuid.UUID)):
        return kind, repr(value)
    return kind, value


def assert_comes_back(value: Any, annotation: Any = Any) -> None:
    assert exact(round_trip(value, annotation)) == exact(value)
