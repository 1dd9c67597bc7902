"""`fake_queue` as a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

__all__ = ["decorated"]

ARGUMENT = "fake_queue"
Target = TypeVar("Target", bound=Callable[..., Any])
Make = Callable[[], AbstractContextManager[Any]]


def decorated(target: Target, make: Make) -> Target:
    """`target`, run inside what `make` makes for each call; of a class, each method ``test…``.

    A parameter called ``fake_queue`` is given it, or else the one argument that a call lacks.
    """
    if isinstance(target, type):
        for name in dir(target):
            method = inspect.getattr_static(target, name)
            if name.startswith("test") and inspect.isfunction(method):
                setattr(target, name, _function(method, make))
        return target
    return cast("Target", _function(target, make))


def _function(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    signature = inspect.signature(function)
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            with make() as made:
                return await function(*_given(signature, made, args, kwargs), **kwargs)

        wrapper = asynchronous
    else:

        @functools.wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with make() as made:
                return function(*_given(signature, made, args, kwargs), **kwargs)

        wrapper = synchronous
    # pytest must not look for a fixture to fill the parameter with.
    others = [each for each in signature.parameters.values() if each.name != ARGUMENT]
    wrapper.__signature__ = signature.replace(parameters=others)
    return cast("Callable[..., Any]", wrapper)


def _given(
    signature: inspect.Signature, made: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """The positional arguments, with what was made among these or among `kwargs`."""
    if ARGUMENT in signature.parameters:
        kwargs[ARGUMENT] = made
        return args
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return (*args, made)
    return args
