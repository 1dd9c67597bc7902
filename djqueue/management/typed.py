"""Arguments as people write them, in a shell or in JSON, to the values that a job takes.

    order=42  when=2026-05-01  tags='["a", "b"]'

The annotation says what a text is meant to be: a model's primary key, a date, a member of an enum.
Unlike a payload, which holds values as what they are, nothing here is taken for what it is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import json
import typing
import uuid
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime, parse_duration

from djqueue.arguments.annotations import Unresolved, alternatives, resolve_annotations
from djqueue.conf import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from djqueue.jobs.definition.spec import JobSpec
    from djqueue.jobs.job import Job

__all__ = ["UnfitError", "from_json", "from_texts", "value_of", "values_of"]


class UnfitError(Exception):
    """A value that is not of the class that was tried. Its text continues "the argument …"."""


def from_texts(spec: JobSpec, given: Mapping[str, str]) -> Job:
    """A job of arguments that were typed, as in ``order=42``. Raises as `from_json`."""
    return _make(spec, given, _of_text)


def from_json(spec: JobSpec, given: Mapping[str, Any]) -> Job:
    """A job of arguments in plain JSON. TypeError, with the argument's name, for what does not
    fit: a wrong or missing name, a value of another type, a model instance that is not there.
    """
    return _make(spec, given, _of_data)


def _make(spec: JobSpec, given: Mapping[str, Any], read: Callable[[Any, Any], Any]) -> Job:
    annotations = spec.job_class._annotations()
    _refuse_unknown(spec, given)
    missing = sorted(spec.job_class._required() - set(given), key=list(annotations).index)
    if missing:
        raise TypeError(
            f"{spec.name} needs {', '.join(missing)}. {_takes(spec, annotations)} "
            "Nothing was queued."
        )
    return cast("Job", spec.job_class._from_arguments(_read(spec, given, read)))


def values_of(spec: JobSpec, given: Mapping[str, str]) -> dict[str, Any]:
    """Some arguments that were typed, as in ``order=42``, as values. Raises TypeError."""
    _refuse_unknown(spec, given)
    return _read(spec, given, _of_text)


def value_of(text: str, annotation: Any) -> Any:
    """One argument that was typed, as a value. Raises `UnfitError`."""
    return _of_text(text, annotation)


def _read(
    spec: JobSpec, given: Mapping[str, Any], read: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    annotations = spec.job_class._annotations()
    values = {}
    for name, value in given.items():
        try:
            values[name] = read(value, annotations[name])
        except UnfitError as error:
            raise TypeError(
                f'{spec.name}: argument "{name}" {error}. Nothing was queued.'
            ) from None
    return values


def _refuse_unknown(spec: JobSpec, given: Mapping[str, Any]) -> None:
    annotations = spec.job_class._annotations()
    for name in given:
        if name not in annotations:
            raise TypeError(
                f'{spec.name} takes no argument "{name}".{did_you_mean(name, annotations)} '
                f"{_takes(spec, annotations)} Nothing was queued."
            )


def _takes(spec: JobSpec, annotations: Mapping[str, Any]) -> str:
    required = spec.job_class._required()
    shown = [name if name in required else f"[{name}]" for name in annotations]
    return f"It takes {', '.join(shown)}." if shown else "It takes no arguments."


def _of_text(text: str, annotation: Any) -> Any:
    """What was typed: as JSON, or as the text itself, whichever the annotation takes."""
    leaves = alternatives(annotation)
    if str in leaves and len(leaves) == 1:
        return text
    readings: list[Any] = [text]
    with contextlib.suppress(ValueError, RecursionError):
        # Where anything goes, 42 is a number although it was typed.
        place = 0 if any(map(_is_open, leaves)) else 1
        readings.insert(place, json.loads(text, parse_constant=_refuse))
    unfit: UnfitError | None = None
    # A text is text only where nothing else takes it: `int | str` given 42 is a number.
    for leaf in sorted(leaves, key=lambda leaf: leaf is str) or [Any]:
        for reading in readings:
            try:
                return _convert(reading, leaf)
            except UnfitError as error:
                unfit = unfit or error
    if readings[-1] is None:
        return None
    raise unfit or UnfitError("has a value that does not fit")


def _of_data(data: Any, annotation: Any) -> Any:
    """What was written as JSON."""
    if data is None:
        return None
    unfit: UnfitError | None = None
    for leaf in sorted(alternatives(annotation), key=lambda leaf: type(data) is not leaf) or [Any]:
        try:
            return _convert(data, leaf)
        except UnfitError as error:
            unfit = unfit or error
    raise unfit or UnfitError("has a value that does not fit")


def _convert(data: Any, leaf: Any) -> Any:
    if _is_open(leaf):
        return data
    cls = typing.get_origin(leaf) or leaf
    try:
        if cls in _SCALARS:
            return _SCALARS[cls](data)
        if issubclass(cls, enum.Enum):
            return cls[data] if isinstance(data, str) and data in cls.__members__ else cls(data)
        if issubclass(cls, Model):
            return _instance(data, cls)
        if issubclass(cls, QuerySet):
            # QuerySet[Order] is QuerySet when the program runs, so nothing names the model.
            raise UnfitError(
                "is a queryset, which cannot be written as text: dispatch it from code"
            )
        if cls in (list, tuple, set, frozenset):
            return _items(data, cls, typing.get_args(leaf))
        if cls is dict or cls is Mapping:
            return _entries(data, typing.get_args(leaf))
        if dataclasses.is_dataclass(cls) or hasattr(cls, "_fields"):
            return _fields(data, cls)
    except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation, ValidationError):
        raise UnfitError(f"is {_shown(data)}, which is not a valid {cls.__name__}") from None
    return data


def _exactly(*classes: type) -> Callable[[Any], Any]:
    def check(data: Any) -> Any:
        if type(data) not in classes:
            raise TypeError
        return data

    return check


def _float(data: Any) -> float:
    return float(_exactly(int, float)(data))


def _decimal(data: Any) -> Decimal:
    value = Decimal(str(_exactly(int, float, str)(data)))
    if not value.is_finite():
        raise ValueError
    return value


def _datetime(data: Any) -> dt.datetime:
    value = parse_datetime(_exactly(str)(data))
    if value is None:
        raise ValueError
    return timezone.make_aware(value) if timezone.is_naive(value) else value


def _timedelta(data: Any) -> dt.timedelta:
    if type(data) in (int, float):
        return dt.timedelta(seconds=data)
    value = parse_duration(_exactly(str)(data))
    if value is None:
        raise ValueError
    return value


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    str: _exactly(str),
    int: _exactly(int),
    float: _float,
    bool: _exactly(bool),
    bytes: lambda data: _exactly(str)(data).encode(),
    Decimal: _decimal,
    uuid.UUID: lambda data: uuid.UUID(_exactly(str)(data)),
    dt.datetime: _datetime,
    dt.date: lambda data: dt.date.fromisoformat(_exactly(str)(data)),
    dt.time: lambda data: dt.time.fromisoformat(_exactly(str)(data)),
    dt.timedelta: _timedelta,
}


def _instance(key: Any, model: type[Model]) -> Model:
    try:
        return model._base_manager.get(pk=tuple(key) if isinstance(key, list) else key)
    except ObjectDoesNotExist:
        raise UnfitError(
            f"is {_shown(key)}, and there is no {model._meta.label} of that key"
        ) from None


def _items(data: Any, cls: type, annotations: tuple[Any, ...]) -> Any:
    items = _exactly(list)(data)
    if cls is tuple and annotations and Ellipsis not in annotations:
        if len(items) != len(annotations):
            raise ValueError
        return tuple(map(_of_data, items, annotations))
    return cls(_of_data(item, annotations[0] if annotations else Any) for item in items)


def _entries(data: Any, annotations: tuple[Any, ...]) -> dict[Any, Any]:
    key, value = annotations if len(annotations) == 2 else (Any, Any)
    return {
        _of_text(each, key): _of_data(item, value) for each, item in _exactly(dict)(data).items()
    }


def _fields(data: Any, cls: Any) -> Any:
    annotations = resolve_annotations(cls)
    return cls(
        **{name: _of_data(item, annotations[name]) for name, item in _exactly(dict)(data).items()}
    )


def _is_open(leaf: Any) -> bool:
    """Whether anything fits."""
    cls = typing.get_origin(leaf) or leaf
    return cls in (Any, object) or not isinstance(cls, type) or issubclass(cls, Unresolved)


def _shown(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _refuse(name: str) -> Any:
    raise ValueError(name)
