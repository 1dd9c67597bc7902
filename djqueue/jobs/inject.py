"""`Inject`: parameters of ``handle()`` that are made when the job runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from djqueue.errors import InvalidJob

if TYPE_CHECKING:
    from djqueue.compat import GeneratorManager

__all__ = ["Inject", "Marker", "injected", "markers"]

T = TypeVar("T")


class Marker:
    """The default value of an injected parameter. It knows how to make the parameter's value."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        plain = inspect.unwrap(factory)
        self._manager: Callable[[], AbstractContextManager[Any]] | None = (
            contextmanager(plain) if inspect.isgeneratorfunction(plain) else None
        )

    def enter(self, stack: ExitStack) -> Any:
        """Make the value. Closing `stack` runs what follows the ``yield`` of a generator."""
        return stack.enter_context(self._manager()) if self._manager else self.factory()

    def __repr__(self) -> str:
        return f"Inject({getattr(self.factory, '__qualname__', self.factory)!s})"


@overload
def Inject(factory: Callable[[], GeneratorManager[T, Any, Any]]) -> T: ...
@overload
def Inject(factory: Callable[[], Generator[T, None, None]]) -> T: ...
@overload
def Inject(factory: Callable[[], Iterator[T]]) -> T: ...
@overload
def Inject(factory: Callable[[], T]) -> T: ...
def Inject(factory: Callable[[], Any]) -> Any:  # noqa: N802 - reads as a marker in a signature
    """Mark a parameter of ``handle()`` or of a ``@job`` function as made by `factory`.

        def handle(self, gateway: Gateway = Inject(get_gateway)) -> str: ...

    `factory` is called without arguments each time the job runs, and at a direct call that does not
    pass the parameter. A generator function (with ``@contextmanager`` or without) provides what it
    yields, and is closed when the job has run; an exception of the job is raised inside it.
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
    """Return the injected parameters of `function`, by name."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if isinstance(each.default, Marker)}


def injected(function: Callable[..., T]) -> Callable[..., T]:
    """Wrap `function` so that each call makes the injected parameters that it does not pass.

    A function without injected parameters is returned as it is.
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
