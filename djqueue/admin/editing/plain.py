"""Arguments as people write them, as JSON without the tags of payloads; and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.utils.duration import duration_iso_string

from djqueue import arguments
from djqueue.errors import PayloadError
from djqueue.management.typed import UnfitError, value_of

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["in_plain_json", "written"]


def in_plain_json(spec: JobSpec, name: str, annotation: Any, stored: Any) -> str | None:
    """Return a stored argument as JSON that `value_of` reads to the very same; None if there is no
    such text.
    """
    where = f'{spec.name}: argument "{name}"'
    try:
        text = written(_plain(arguments.compile(annotation).decode(stored, where)))
        same = spec.encode_argument(name, value_of(text, annotation))
    except (PayloadError, UnfitError, TypeError, ValueError, RecursionError):
        return None
    return text if written(same) == written(stored) else None


def written(value: Any) -> str:
    """Return a JSON value as text: in one line if it is short."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= 60 else json.dumps(value, ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    """Return a value as plain JSON. Raises `TypeError` for what has none."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_iso_string(value)
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value), key=json.dumps)
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"{type(value).__name__} has no plain form")


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(_plain(key))
