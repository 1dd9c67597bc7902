"""The codec of an annotation: how its values are encoded and decoded, computed once.

An annotation contributes only what encoding needs: the classes that a payload cannot name, and
where they are nested. Models, querysets, bytes and text that is safe in HTML are decoded only where
the annotation allows them: a payload must not choose them for an argument of another type. All
other values keep their type regardless of the annotation, which a type checker verifies.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from django.db.models import Model, QuerySet
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeData, SafeString

from djqueue.arguments import containers, models, scalars
from djqueue.arguments.annotations import Unresolved, alternatives, is_class, resolve_annotations
from djqueue.arguments.errors import DamagedError, GoneError, RefusedError, Where, brief, short_repr
from djqueue.arguments.named import Named, choose, kind_of
from djqueue.arguments.refusals import refusal
from djqueue.compat import unwrapped
from djqueue.errors import InvalidPayload, ModelMissing, NotSerializable

if TYPE_CHECKING:
    from collections.abc import Sequence

_PASSED_ON = frozenset((bool, type(None)))
_WORD = 2**63
_NAMED_TAGS = frozenset(("enum", "namedtuple", "dataclass"))


class Codec:
    """Encodes and decodes the values of one annotation. Made by `compile`."""

    def __init__(self, alternatives: tuple[Any, ...]) -> None:
        self._alternatives = alternatives

    # For whole arguments, with the errors that users see.

    def encode(self, value: Any, where: Where) -> Any:
        """Return the JSON value to store. Raises `NotSerializable`, which names a remedy."""
        kind = type(value)
        if kind in _PASSED_ON or (kind is str and value.isascii()):
            return value
        if kind is int and -_WORD <= value < _WORD:
            return value
        try:
            return self.pack(value, 0)
        except RefusedError as refused:
            raise NotSerializable(f"{refused.place(where)} {refused.text}") from refused.__cause__
        except RecursionError:
            raise NotSerializable(
                f"{RefusedError('').place(where)} is nested too deeply. Pass a flatter value."
            ) from None

    def decode(self, data: Any, where: Where) -> Any:
        """Return the value that was stored. Raises `InvalidPayload` or `ModelMissing`."""
        kind = type(data)
        if kind is str or kind is int or kind in _PASSED_ON:
            return data
        try:
            return self.unpack(data, 0)
        except GoneError as gone:
            job, _, argument = gone.place(where).partition(": ")
            raise ModelMissing(
                f"{gone.text}, so {job} could not start ({argument or 'an argument'}). It was "
                "probably deleted, or the job was dispatched before its transaction committed. "
                "Use `after_commit=True`, or `delete_when_missing=True` to drop such jobs."
            ) from None
        except DamagedError as damaged:
            raise InvalidPayload(
                f"{damaged.place(where)} cannot be decoded: {damaged.text}. "
                "The job was dispatched by another version of the code, or its payload was altered."
            ) from damaged.__cause__
        except RecursionError:
            raise InvalidPayload(
                f"{DamagedError('').place(where)} is nested too deeply: it was altered."
            ) from None

    # For parts of values, inside this package.

    def pack(self, value: Any, depth: int) -> Any:
        """Return the stored form of a value `depth` containers deep."""
        kind = type(value)
        scalar = scalars.FREE.get(kind)
        if scalar is not None:
            return scalar(value)
        container = containers.PACK.get(kind)
        if container is not None:
            return container(value, self, depth)
        named = self.named.get(kind)
        if named is not None:
            return named.pack(value, depth)
        if isinstance(value, Model):
            if kind is SimpleLazyObject:  # request.user, loaded by now
                value = unwrapped(value)
            return models.pack_model(value, self)
        if isinstance(value, QuerySet):
            return models.pack_queryset(value, self)
        if kind is bytes and self.takes_bytes:
            return scalars.PACK[bytes](value)
        if kind is SafeString:
            # Plain text unless the annotation allows more: a queue must not mark text as safe HTML.
            return scalars.PACK[SafeString if self.takes_safe else str](str.__str__(value))
        stand_in = scalars.packer_of_test_clock(kind)
        if stand_in is not None:
            return stand_in(value)
        raise refusal(value, self)

    def unpack(self, data: Any, depth: int) -> Any:
        """Return the value of a stored form `depth` containers deep."""
        kind = type(data)
        if kind is str or kind is int or kind in _PASSED_ON:
            return data
        if kind is list:
            return containers.unpack_list(data, self, depth)
        if kind is dict:
            if containers.TAG in data:
                return self._unpack_tagged(data, depth)
            return containers.unpack_object(data, self, depth)
        return self.unpack_scalar(data)

    def unpack_scalar(self, data: Any) -> Any:
        """Return the value of a stored form that has no parts."""
        kind = type(data)
        if kind is str or kind is int or kind in _PASSED_ON:
            return data
        if kind is float and math.isfinite(data):
            return data
        unpack = scalars.UNPACK.get(_tag(data)) if kind is dict else None
        if unpack is None:
            raise DamagedError(f"a {kind.__name__} is not expected here")
        try:
            return unpack(data)
        except scalars.UNPACK_ERRORS as error:
            raise DamagedError(f"it is not a {short_repr(data['$'])}: {brief(error)}") from None

    def _unpack_tagged(self, data: Mapping[str, Any], depth: int) -> Any:
        tag = _tag(data)
        if tag in scalars.UNPACK:
            if tag == "bytes" and not self.takes_bytes:
                raise DamagedError("it is bytes, which the annotation does not name")
            value = self.unpack_scalar(data)
            return str.__str__(value) if tag == "safe" and not self.takes_safe else value
        unpack = containers.UNPACK.get(tag)
        if unpack is not None:
            return unpack(data, self, depth)
        if tag in _NAMED_TAGS:
            return choose(self.named.values(), data).unpack(data, depth)
        if tag == "model":
            return models.unpack_model(data, self)
        if tag == "queryset":
            return models.unpack_queryset(data, self)
        raise DamagedError(f"there is no type {short_repr(tag)}")

    # What the annotation allows.

    @cached_property
    def named(self) -> Mapping[type, Named]:
        """The Enum, NamedTuple and dataclass classes that the annotation names."""
        found: dict[type, Named] = {}
        for leaf in self._alternatives:
            cls = typing.get_origin(leaf) or leaf
            if isinstance(cls, type) and kind_of(cls):
                found[cls] = Named(leaf, cls, compile)
        labels = [one.label for one in found.values()]
        for one in found.values():
            if labels.count(one.label) > 1:
                one.label = f"{one.cls.__module__}.{one.label}"
        return found

    @cached_property
    def models(self) -> Sequence[type] | None:
        """The models that the annotation names, possibly none; None if it allows any model."""
        if self._is_open:
            return None
        return [one for one in self._alternatives if _is_class_of(one, Model)]

    @cached_property
    def _is_open(self) -> bool:
        """Whether any model is allowed: the annotation is missing, or names a base of models."""
        return not self._alternatives or any(not _is_closed(one) for one in self._alternatives)

    @cached_property
    def rows(self) -> Sequence[type] | None:
        """The models of allowed querysets, possibly none; None if it allows any queryset."""
        if self._is_open or any(map(_holds_items, self._alternatives)):
            return self.item.models
        return ()

    @cached_property
    def takes_bytes(self) -> bool:
        """Whether the annotation allows bytes."""
        return self._is_open or any(map(_may_be_bytes, self._alternatives))

    @cached_property
    def takes_safe(self) -> bool:
        """Whether the annotation allows text that is marked as safe in HTML."""
        return self._is_open or any(_is_class_of(one, SafeData) for one in self._alternatives)

    @cached_property
    def unresolved(self) -> Sequence[str]:
        """The names in the annotation that could not be resolved."""
        return [one.text for one in self._alternatives if _is_class_of(one, Unresolved)]

    @cached_property
    def item(self) -> Codec:
        """The codec of the items of a list, set or queryset."""
        return _merge(one for leaf in self._alternatives for one in _item_annotations(leaf))

    @cached_property
    def key(self) -> Codec:
        """The codec of the keys of a dict."""
        return _merge(arguments[0] for arguments in self._mappings)

    @cached_property
    def value(self) -> Codec:
        """The codec of the values of a dict."""
        return _merge(arguments[1] for arguments in self._mappings)

    def entry(self, key: Any) -> Codec:
        """Return the codec of the value at this key of a dict."""
        fields = self._fields
        return fields.get(key, self.value) if fields and isinstance(key, str) else self.value

    def position(self, index: int, length: int) -> Codec:
        """Return the codec of one item of a tuple of this length."""
        fixed = self._tuples.get(length)
        return fixed[index] if fixed else self.item

    @cached_property
    def _mappings(self) -> Sequence[tuple[Any, Any]]:
        found = []
        for leaf in self._alternatives:
            arguments = typing.get_args(leaf)
            if len(arguments) == 2 and _is_class_of(typing.get_origin(leaf), Mapping):
                found.append(arguments)
        return found

    @cached_property
    def _tuples(self) -> Mapping[int, Sequence[Codec]]:
        """The codecs of the items of tuples that are annotated item by item, by length."""
        shapes: dict[int, list[tuple[Any, ...]]] = {}
        for leaf in self._alternatives:
            arguments = typing.get_args(leaf)
            if typing.get_origin(leaf) is tuple and Ellipsis not in arguments:
                shapes.setdefault(len(arguments), []).append(arguments)
        return {
            length: [
                _merge([*column, *self.item._alternatives]) for column in zip(*found, strict=True)
            ]
            for length, found in shapes.items()
        }

    @cached_property
    def _fields(self) -> Mapping[str, Codec]:
        """The codecs of the keys that TypedDicts name."""
        found: dict[str, list[Any]] = {}
        for leaf in self._alternatives:
            if _is_class_of(leaf, dict) and "__total__" in vars(leaf):
                for name, annotation in resolve_annotations(leaf).items():
                    found.setdefault(name, []).append(annotation)
        return {
            name: _merge([*annotations, *self.value._alternatives])
            for name, annotations in found.items()
        }


def compile(annotation: Any) -> Codec:  # noqa: A001 - as `re.compile`
    """Return the codec of an annotation from `resolve_annotations`; the same one each time."""
    try:
        return _compile(annotation)
    except TypeError:  # Annotated[int, []] cannot be hashed
        return Codec(alternatives(annotation))


@lru_cache(maxsize=4096)
def _compile(annotation: Any) -> Codec:
    return _codec(alternatives(annotation))


@lru_cache(maxsize=4096)
def _codec(alternatives: tuple[Any, ...]) -> Codec:
    return Codec(alternatives)


def _merge(annotations: Iterable[Any]) -> Codec:
    """Return the codec for what any of these annotations allows; without any, for everything."""
    found: dict[int, Any] = {}
    for annotation in annotations:
        found.update((id(one), one) for one in alternatives(annotation))
    try:
        return _codec(tuple(found.values()))
    except TypeError:
        return Codec(tuple(found.values()))


def _item_annotations(leaf: Any) -> tuple[Any, ...]:
    origin, arguments = typing.get_origin(leaf), typing.get_args(leaf)
    if origin is tuple:
        return arguments[:1] if Ellipsis in arguments else ()
    if len(arguments) == 1 and _is_class_of(origin, Iterable):
        return arguments
    return ()


def _is_class_of(leaf: Any, base: type) -> bool:
    return is_class(leaf) and issubclass(leaf, base)


def _is_closed(leaf: Any) -> bool:
    """Return whether no model can be an instance of `leaf`."""
    cls = _class_of(leaf)
    return cls is not None and (
        issubclass(cls, (Model, *containers.PACK, *scalars.PACK, QuerySet))
        or kind_of(cls) is not None
        or (cls.__module__ == "collections.abc" and not issubclass(Model, cls))
    )


def _holds_items(leaf: Any) -> bool:
    """Return whether `leaf` allows a queryset: it is one, or a collection with items."""
    cls = _class_of(leaf)
    if cls is None or kind_of(cls) is not None:
        return False
    if cls.__module__ == "collections.abc":
        return issubclass(cls, Iterable) and not issubclass(cls, Mapping)
    return issubclass(cls, (QuerySet, list, tuple, set, frozenset))


def _may_be_bytes(leaf: Any) -> bool:
    cls = _class_of(leaf)
    # A TypedDict, which is a dict, refuses to be asked.
    return cls is not None and not issubclass(cls, dict) and issubclass(bytes, cls)


def _class_of(leaf: Any) -> type | None:
    cls = typing.get_origin(leaf) or leaf
    return cls if isinstance(cls, type) else None


def _tag(data: Mapping[str, Any]) -> str:
    tag = data.get(containers.TAG)
    if isinstance(tag, str):
        return tag
    raise DamagedError(f"a tag is of type {type(tag).__name__}")
