"""`Inject`: what ``handle()`` needs beside its arguments, made when it runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from djqueue.errors import InvalidJob

if TYPE_CHECKING:
    from contextlib import _GeneratorContextManager

__all__ = ["Inject", "Marker", "injected", "markers"]

T = TypeVar("T")


class Marker:
    """The default of an injected parameter: how to make its value."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        plain = inspect.unwrap(factory)
        self._manager: Callable[[], AbstractContextManager[Any]] | None = (
            contextmanager(plain) if inspect.isgeneratorfunction(plain) else None
        )

    def enter(self, stack: ExitStack) -> Any:
        """Make the value. What a generator does after its ``yield`` runs when `stack` closes."""
        return stack.enter_context(self._manager()) if self._manager else self.factory()

    def __repr__(self) -> str:
        return f"Inject({getattr(self.factory, '__qualname__', self.factory)!s})"


@overload
def Inject(factory: Callable[[], _GeneratorContextManager[T, Any, Any]]) -> T: ...
@overload
def Inject(factory: Callable[[], Generator[T, None, None]]) -> T: ...
@overload
def Inject(factory: Callable[[], Iterator[T]]) -> T: ...
@overload
def Inject(factory: Callable[[], T]) -> T: ...
def Inject(factory: Callable[[], Any]) -> Any:  # noqa: N802 - reads as a marker in a signature
    """The default of a parameter of ``handle()`` or of a ``@job`` function that is no argument.

        def handle(self, gateway: Gateway = Inject(get_gateway)) -> str: ...

    `factory` is called without arguments each time the job runs, and on a direct call that does
    not pass the parameter. A generator function (``@contextmanager`` or not) gives what it yields
    and is closed when the job has run, with its exception if it raised one.
    """
    if not callable(factory):
        raise InvalidJob(f"Inject() takes a function that makes the value, not {factory!r}.")
    plain = inspect.unwrap(factory)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise InvalidJob(
            f"Inject({plain.__qualname__}): the factory is async, and nothing would await it. "
            "Use a plain function, or await it in the job."
        )
    return Marker(factory)


def markers(function: Callable[..., Any]) -> dict[str, Marker]:
    """The injected parameters of `function`, by name."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if isinstance(each.default, Marker)}


def injected(function: Callable[..., T]) -> Callable[..., T]:
    """`function`, whose injected parameters are made at each call that does not pass them.

    Returned unchanged if it has none.
    """
    found = markers(function)
    if not found:
        return function
    parameters = inspect.signature(function).parameters.values()
    names = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]

    def make(stack: ExitStack, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        given = {*kwargs, *names[: len(args)]}
        return {name: marker.enter(stack) for name, marker in found.items() if name not in given}

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                return await function(*args, **kwargs, **make(stack, args, kwargs))

        return cast("Callable[..., T]", call_async)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        with ExitStack() as stack:
            return function(*args, **kwargs, **make(stack, args, kwargs))

    return call
