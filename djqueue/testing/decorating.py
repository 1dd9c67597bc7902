"""`fake_queue` and `fake_events` as decorators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar, cast

__all__ = ["decorated"]

Target = TypeVar("Target", bound=Callable[..., Any])
Make = Callable[[], AbstractContextManager[Any]]


def decorated(target: Target, make: Make, argument: str) -> Target:
    """`target`, run inside what `make` makes for each call; of a class, each method ``test…``.

    A parameter called `argument` is given it, or else the one argument that a call lacks.
    """
    if isinstance(target, type):
        for name in dir(target):
            method = inspect.getattr_static(target, name)
            if name.startswith("test") and inspect.isfunction(method):
                setattr(target, name, _function(method, make, argument))
        return target
    return cast("Target", _function(target, make, argument))


def _function(function: Callable[..., Any], make: Make, argument: str) -> Callable[..., Any]:
    signature = inspect.signature(function)
    given = partial(_given, signature, argument)
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            with make() as made:
                return await function(*given(made, args, kwargs), **kwargs)

        wrapper = asynchronous
    else:

        @functools.wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with make() as made:
                return function(*given(made, args, kwargs), **kwargs)

        wrapper = synchronous
    # pytest must not look for a fixture to fill the parameter with.
    others = [each for each in signature.parameters.values() if each.name != argument]
    wrapper.__signature__ = signature.replace(parameters=others)
    return cast("Callable[..., Any]", wrapper)


def _given(
    signature: inspect.Signature,
    argument: str,
    made: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Any, ...]:
    """The positional arguments, with what was made among these or among `kwargs`."""
    if argument in signature.parameters:
        kwargs[argument] = made
        return args
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return (*args, made)
    return args
