"""Classes of the project that only an annotation can name: Enum, NamedTuple, dataclass.

A payload does not choose the class: where the annotation names several, the payload only says which
of them is meant.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from djqueue.arguments.annotations import resolve_annotations, substitute
from djqueue.arguments.errors import (
    ArgumentError,
    DamagedError,
    RefusedError,
    deeper,
    deeper_stored,
    short_repr,
)
from djqueue.arguments.scalars import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from djqueue.arguments.value_codec import ValueCodec

_ABSENT = object()


def kind_of(cls: type) -> str | None:
    """Return the tag for instances of this class, or None if it is of none of these kinds."""
    if issubclass(cls, enum.Enum):
        return "enum"
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return "namedtuple"
    return "dataclass" if dataclasses.is_dataclass(cls) else None


class Named:
    """A class that an annotation names."""

    def __init__(self, leaf: Any, cls: type, codec_of: Callable[[Any], ValueCodec]) -> None:
        self.cls = cls
        self.tag = kind_of(cls)
        self.label = cls.__qualname__
        self._leaf = leaf
        self._codec_of = codec_of

    @cached_property
    def codecs(self) -> Mapping[str, ValueCodec]:
        """The codec of each field."""
        annotations = resolve_annotations(self.cls)
        parameters = getattr(self.cls, "__parameters__", ())
        arguments = dict(zip(parameters, getattr(self._leaf, "__args__", ()), strict=False))
        return {
            name: self._codec_of(substitute(annotations.get(name, Any), arguments))
            for name in self._field_names
        }

    @cached_property
    def _field_names(self) -> tuple[str, ...]:
        if self.tag == "namedtuple":
            return tuple(getattr(self.cls, "_fields", ()))
        return tuple(field.name for field in dataclasses.fields(self.cls))

    @cached_property
    def _parameters(self) -> frozenset[str]:
        """The fields that a dataclass's constructor takes."""
        parameters = inspect.signature(self.cls).parameters.values()
        for one in parameters:
            variadic = one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            if one.default is one.empty and not variadic and one.name not in self._field_names:
                raise RefusedError(
                    f"is a {self.label}, which cannot be restored: its constructor needs "
                    f'"{one.name}", which is not a field. Give it a default.'
                )
        return frozenset(one.name for one in parameters) & frozenset(self._field_names)

    def pack(self, value: Any, depth: int) -> Any:
        """Return the tagged form of an instance."""
        if self.tag == "enum":
            return {"$": "enum", "t": self.label, "v": _member(value)}
        if self.tag == "dataclass":
            _ = self._parameters
        depth = deeper(depth)
        packed = {}
        name = ""
        try:
            for name, codec in self.codecs.items():
                item = getattr(value, name, _ABSENT)
                if item is _ABSENT:
                    raise RefusedError("was never set. Give the field a value.")
                packed[name] = codec.pack(item, depth)
        except ArgumentError as error:
            error.at(f".{name}")
            raise
        return {"$": self.tag, "t": self.label, "v": packed}

    def unpack(self, data: Mapping[str, Any], depth: int) -> Any:
        """Return the instance of a tagged form."""
        if self.tag == "enum":
            return self._unpack_member(part(data, "v", (str, int)))
        stored, depth = part(data, "v", dict), deeper_stored(depth)
        values = {}
        for name, item in stored.items():
            codec = self.codecs.get(name)
            if codec is None:
                raise DamagedError(f"{self.label} no longer has a field {short_repr(name)}")
            try:
                values[name] = codec.unpack(item, depth)
            except ArgumentError as error:
                error.at(f".{name}")
                raise
        return self._tuple(values) if self.tag == "namedtuple" else self._instance(values)

    def _unpack_member(self, stored: str | int) -> Any:
        members: Mapping[str, Any] = getattr(self.cls, "__members__", {})
        if isinstance(stored, str) and stored in members:
            return members[stored]
        if isinstance(stored, int) and issubclass(self.cls, enum.Flag):
            try:
                return self.cls(stored)
            except Exception:  # noqa: BLE001 - an Enum may have a _missing_ of the project's
                raise DamagedError(f"{self.label} has no flags {short_repr(stored)}") from None
        raise DamagedError(f"{self.label} has no member {short_repr(stored)}")

    def _tuple(self, values: dict[str, Any]) -> Any:
        # Fields that were added after the dispatch have their defaults.
        values = {**getattr(self.cls, "_field_defaults", {}), **values}
        for name in self._field_names:
            if name not in values:
                raise DamagedError(f'{self.label} is stored without its "{name}"')
        # As `_make` does; a subclass may have overridden the constructor.
        return tuple.__new__(self.cls, [values[name] for name in self._field_names])

    def _instance(self, values: dict[str, Any]) -> Any:
        known = {name: value for name, value in values.items() if name in self._parameters}
        try:
            instance = self.cls(**known)
        except Exception as error:  # __post_init__ is the project's code
            raise DamagedError(
                f"{self.label} refused its stored fields with a {type(error).__name__}"
            ) from error
        # The stored values are those after the first __post_init__: undo what the second changed.
        for name, value in values.items():
            if getattr(instance, name, _ABSENT) is not value:
                object.__setattr__(instance, name, value)
        return instance


def _member(value: enum.Enum) -> str | int:
    """Return a member's name, which is stable text; for a flag its number, as combinations have no
    name.
    """
    if isinstance(value, enum.Flag):
        return int(value.value)
    if type(value).__members__.get(value.name) is not value:
        raise RefusedError(
            f"is a value of {type(value).__qualname__} that is not one of its members. "
            "Pass its value."
        )
    return value.name


def choose(named: Iterable[Named], data: Mapping[str, Any]) -> Named:
    """Return the class of a tagged value, out of those that the annotation names.

    The stored name decides between several. A single class is taken regardless of its name, so
    that a class may be renamed while jobs are queued.
    """
    tag, label = data["$"], part(data, "t", str)
    candidates = [one for one in named if one.tag == tag]
    for one in candidates:
        if one.label == label:
            return one
    if len(candidates) == 1:
        return candidates[0]
    raise DamagedError(f"it is the {tag} {short_repr(label)}, which the annotation does not name")
