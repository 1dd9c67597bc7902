"""The signature of a ``@job`` function, read once: dispatching and running it need no `inspect`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from djqueue.errors import InvalidJob
from djqueue.jobs.inject import Marker, markers

__all__ = ["Signature", "read_signature"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Signature:
    """The arguments of a function, without injected parameters."""

    bind: Callable[..., dict[str, Any]]
    """Takes the function's arguments and returns them by name, with defaults filled in. A wrong or
    missing argument raises the `TypeError` that a call of the function would raise."""
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    positional: tuple[str, ...] = ()
    """The arguments that have to be passed by position."""
    star: str | None = None
    double_star: str | None = None

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call `function` with the arguments that `bind` returned."""
        if not (self.positional or self.star or self.double_star):
            return function(**arguments)
        keywords = {**self.defaults, **arguments}
        args = [keywords.pop(name) for name in self.positional]
        if self.star:
            args.extend(keywords.pop(self.star))
        if self.double_star:
            keywords.update(keywords.pop(self.double_star))
        return function(*args, **keywords)


def read_signature(function: Callable[..., Any]) -> Signature:
    """Read the signature of `function`. Raises `InvalidJob` if it cannot be a job."""
    every = list(inspect.signature(function).parameters.values())
    taken = [each for each in every if not isinstance(each.default, Marker)]
    star = next((each.name for each in taken if each.kind is each.VAR_POSITIONAL), None)
    double_star = next((each.name for each in taken if each.kind is each.VAR_KEYWORD), None)
    for each in every:
        if not isinstance(each.default, Marker):
            continue
        if each.kind is each.POSITIONAL_ONLY or (star and each.kind in _POSITIONAL):
            raise InvalidJob(
                f"{function.__qualname__}(): the injected parameter {each.name!r} would take an "
                f"argument's place. Put it after the others: def {function.__name__}(…, *, "
                f"{each.name}=Inject(…))."
            )
    positional_kinds = _POSITIONAL if star else (inspect.Parameter.POSITIONAL_ONLY,)
    defaults: dict[str, Any] = {
        each.name: each.default for each in taken if each.default is not each.empty
    }
    if star:
        defaults[star] = ()
    if double_star:
        defaults[double_star] = {}
    return Signature(
        bind=_make_binder(function, every),
        names=tuple(each.name for each in taken),
        defaults=defaults,
        positional=tuple(each.name for each in taken if each.kind in positional_kinds),
        star=star,
        double_star=double_star,
    )


def _make_binder(
    function: Callable[..., Any], every: list[inspect.Parameter]
) -> Callable[..., dict[str, Any]]:
    """Return a function with the same parameters that returns them by name. Python binds a call
    many times faster than `inspect.Signature.bind`, with the same errors as the function itself.

    Its source contains nothing from outside but names of parameters, which are identifiers.
    """
    parameters = list(_without_injected(every))
    shown = [
        each if each.default is each.empty else each.replace(default=None) for each in parameters
    ]
    pairs = ", ".join(f"{each.name!r}: {each.name}" for each in parameters)
    # Otherwise **kwargs would accept injected parameters, which are not parameters here.
    refused = "".join(
        f"\n if {marker!r} in {each.name}: refuse({marker!r})"
        for each in parameters
        if each.kind is each.VAR_KEYWORD
        for marker in markers(function)
    )
    name = f"{function.__qualname__}.dispatch"
    namespace: dict[str, Any] = {"refuse": functools.partial(_refuse, name)}
    source = f"def bind{inspect.Signature(shown)}:{refused}\n return {{{pairs}}}"
    exec(source, namespace)  # noqa: S102 - see above
    bind: Any = namespace["bind"]
    given = [each for each in parameters if each.default is not each.empty]
    bind.__defaults__ = tuple(each.default for each in given if each.kind in _POSITIONAL)
    bind.__kwdefaults__ = {
        each.name: each.default for each in given if each.kind not in _POSITIONAL
    }
    bind.__qualname__ = name
    return cast("Callable[..., dict[str, Any]]", bind)


def _refuse(called: str, name: str) -> None:
    raise TypeError(f"{called}() got an unexpected keyword argument {name!r}: Inject makes it")


def _without_injected(every: list[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Yield the parameters that are arguments. After an injected parameter they can be passed by
    name only, since their positions differ from those of the function.
    """
    kept_places = True
    for each in every:
        if isinstance(each.default, Marker):
            kept_places = kept_places and each.kind not in _POSITIONAL
            continue
        kind = each.kind
        if kind in _POSITIONAL and not kept_places:
            kind = each.KEYWORD_ONLY
        yield each.replace(kind=kind, annotation=each.empty)
