"""Resolving annotations to the classes they name.

Names are resolved as late as possible (at the first dispatch or run), and one by one: a name that
cannot be found does not affect the others.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class _UnresolvedMeta(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _UnresolvedMeta("", cls.__bases__, {"text": f"{cls.text}.{name}"})

    def __getitem__(cls, item: object) -> Any:
        return cls


class Unresolved(metaclass=_UnresolvedMeta):
    """The base of the placeholders for text in annotations. They count as `Any`."""

    text: ClassVar[str] = ""


class Missing(Unresolved):
    """The base of the placeholders for names that are nowhere, and for whole annotations that
    cannot be evaluated.
    """


def _missing(text: str) -> Any:
    return _UnresolvedMeta(text, (Missing,), {"text": text})


def resolve_annotations(target: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class (inherited ones too), by name.

    ``return`` is among them. A name that cannot be found, as one that is imported for type checkers
    only, becomes a `Missing` inside the annotation (see `missing_name`). It allows any value except
    those that only an annotation can bring back; their refusal then names it. Call this when
    the project's modules are imported, not while a class is being defined.
    """
    if isinstance(target, type):
        found: dict[str, Any] = {}
        for cls in reversed(target.__mro__):
            module = sys.modules.get(cls.__module__)
            names = {**vars(cls), **_type_parameters(cls), cls.__name__: cls}
            for name, annotation in _written(cls).items():
                found[name] = _resolve(annotation, module, names)
        return found
    function = inspect.unwrap(target)
    function = getattr(function, "__func__", function)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    names = _type_parameters(function)
    return {name: _resolve(one, module, names) for name, one in _written(function).items()}


def _written(target: Any) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(target, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(target)


def _type_parameters(target: Any) -> dict[str, Any]:
    return {one.__name__: one for one in getattr(target, "__type_params__", ())}


def _resolve(annotation: Any, module: types.ModuleType | None, names: Mapping[str, Any]) -> Any:
    if isinstance(annotation, typing.ForwardRef):  # of a TypedDict or NamedTuple, perhaps inherited
        module = sys.modules.get(str(annotation.__forward_module__), module)
        annotation = annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else "its annotation"
    # `typing` evaluates names inside generics too, but gives up at the first it does not find.
    holder = type("holder", (), {"__annotations__": {"one": _with_references(annotation)}})
    namespace = vars(module) if module is not None else {}
    try:
        return typing.get_type_hints(holder, namespace, dict(names), include_extras=True)["one"]
    except NameError as error:
        if not error.name or error.name in names:
            return _missing(text)
        missing = _missing(error.name)
        return _resolve(annotation, module, {**names, error.name: missing})
    except Exception:  # noqa: BLE001 - an annotation is any expression of the project's
        return _missing(text)


def _with_references(annotation: Any) -> Any:
    """Return ``list["Colour"]`` with a `ForwardRef`, as Python 3.11 and later resolve it."""
    if type(annotation) is not types.GenericAlias:
        return annotation
    arguments = tuple(
        typing.ForwardRef(one) if isinstance(one, str) else _with_references(one)
        for one in annotation.__args__
    )
    origin: Any = annotation.__origin__
    return types.GenericAlias(origin, arguments)


def missing_name(annotation: Any) -> str:
    """Return a name in an annotation, or all of its text, that could not be resolved; an empty text
    if there is none. Fields of the classes that it names are not looked at.
    """
    return _missing_name(annotation, [])


def _missing_name(annotation: Any, seen: list[Any]) -> str:
    for leaf in alternatives(annotation):
        if is_class(leaf) and issubclass(leaf, Missing):
            text: str = leaf.text
            return text
        inner = typing.get_args(leaf)
        if inner in seen:  # an alias of itself
            continue
        seen.append(inner)
        for one in inner:
            if found := _missing_name(one, seen):
                return found
    return ""


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the classes and generic aliases that an annotation allows.

    Unions, Annotated, NewType, type aliases, type variables and qualifiers are unwrapped; None is
    left out; a Literal stands for the classes of its members.
    """
    found: dict[int, Any] = {}
    _collect(annotation, found, 0)
    return tuple(found.values())


def allows_none(annotation: Any) -> bool:
    """Return whether an annotation names None among what it allows."""
    return any(each is None for each in _members(annotation, 0))


def literals(annotation: Any) -> list[Any]:
    """Return the members of an annotation that consists of `Literal` alone, but for None; nothing
    for any other.
    """
    found = [each for each in _members(annotation, 0) if each is not None]
    return [] if _OTHER in found else found


_OTHER = object()
"""Stands for all that is no member of a Literal."""


def _members(annotation: Any, depth: int) -> list[Any]:
    if annotation is None or annotation is type(None):
        return [None]
    if typing.get_origin(annotation) is typing.Literal:
        return list(annotation.__args__)
    opened = None if depth > 50 else _open(annotation)
    if not opened:
        return [_OTHER]
    return [member for inner in opened for member in _members(inner, depth + 1)]


def _collect(annotation: Any, found: dict[int, Any], depth: int) -> None:
    if depth > 50:  # an alias of itself
        annotation = Any
    if isinstance(annotation, (str, typing.ForwardRef)):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        annotation = _UnresolvedMeta(text, (Unresolved,), {"text": text})
    opened = _open(annotation)
    if opened is None:
        found[id(annotation)] = annotation
        return
    for inner in opened:
        _collect(inner, found, depth + 1)


def _open(annotation: Any) -> tuple[Any, ...] | None:
    """Return what an annotation wraps; None if it wraps nothing."""
    origin = typing.get_origin(annotation)
    if annotation is None or annotation is type(None):
        return ()
    if isinstance(annotation, typing.TypeVar):
        return annotation.__constraints__ or (annotation.__bound__ or Any,)
    if origin is typing.Union or origin is types.UnionType:
        return typing.get_args(annotation)
    if origin is typing.Literal:
        return tuple(type(one) for one in annotation.__args__)
    if origin is typing.Annotated or str(origin).rpartition(".")[2] in _QUALIFIERS:
        return (typing.get_args(annotation)[0],)
    if isinstance(annotation, typing.NewType):
        return (annotation.__supertype__,)
    if type(origin).__name__ == "TypeAliasType":  # `type Pair[T] = tuple[T, T]`
        parameters = dict(zip(origin.__type_params__, annotation.__args__, strict=False))
        return (substitute(origin.__value__, parameters),)
    if type(annotation).__name__ == "TypeAliasType":
        return (annotation.__value__,)
    return None


_QUALIFIERS = ("ClassVar", "Final", "Required", "NotRequired", "ReadOnly")


def is_class(leaf: Any) -> bool:
    """Return whether `leaf` is a class. Python 3.10 also calls ``list[int]`` a `type`."""
    return isinstance(leaf, type) and typing.get_origin(leaf) is None


def substitute(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type variables replaced; missing ones count as `Any`."""
    if not arguments:
        return annotation
    if isinstance(annotation, typing.TypeVar):
        return arguments.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if is_class(annotation) or not parameters:
        return annotation
    return annotation[tuple(arguments.get(one, Any) for one in parameters)]
