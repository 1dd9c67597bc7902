"""`subscribe`: a class that says itself which of its methods listen to what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from djqueue.errors import InvalidJob
from djqueue.events.listening import listen

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from djqueue.events.registry import What
    from djqueue.jobs.definition.options import OptionKeywords

__all__ = ["Subscriptions", "subscribe"]

S = TypeVar("S")


class Subscriptions:
    """What a subscriber is given to say what it listens to."""

    def __init__(self, subscriber: type) -> None:
        self._subscriber = subscriber

    def listen(
        self,
        event: What,
        listener: str | Callable[..., Any],
        *,
        queued: bool | None = None,
        **options: Unpack[OptionKeywords],
    ) -> None:
        """Let a method of the subscriber, or its name, listen to a class of events or a pattern.
        The options are those of `djqueue.events.listen`.
        """
        name = listener if isinstance(listener, str) else listener.__name__
        listen(event, queued=queued, **options)(_calling(self._subscriber, name))


def subscribe(subscriber: type[S]) -> type[S]:
    """Register the listeners of a subscriber: a class whose ``subscribe(events)`` calls
    ``events.listen(OrderShipped, self.on_shipped)``, or returns ``{OrderShipped: "on_shipped"}``,
    where several names may be in a list. Also a class decorator.

    A new instance is made for each event.
    """
    subscriptions = Subscriptions(subscriber)
    answer: Any = subscriber().subscribe(subscriptions)  # type: ignore[attr-defined]
    if answer is None:
        return subscriber
    if not isinstance(answer, Mapping):
        raise InvalidJob(
            f"{subscriber.__qualname__}.subscribe() returned {answer!r:.150}: return nothing, or a "
            "dict of events and names of methods."
        )
    for what, names in answer.items():
        for name in [names] if isinstance(names, str) or callable(names) else names:
            subscriptions.listen(what, name)
    return subscriber


def _calling(subscriber: type, name: str) -> Callable[..., Any]:
    """Return a function that calls a method of a new instance, and looks like the method."""
    method = getattr(subscriber, name, None)
    if not inspect.isfunction(method):
        raise InvalidJob(f"{subscriber.__qualname__} has no method {name!r} to listen with.")
    taken: Callable[..., Any] = method
    if inspect.iscoroutinefunction(taken):

        @wraps(taken)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await taken(subscriber(), *args, **kwargs)

        return _of(subscriber, call_async)

    @wraps(taken)
    def call(*args: Any, **kwargs: Any) -> Any:
        return taken(subscriber(), *args, **kwargs)

    return _of(subscriber, call)


def _of(subscriber: type, call: Any) -> Callable[..., Any]:
    """Name a function after the subscriber, which may have inherited the method."""
    call._subscriber = subscriber  # read by `identity`
    call.__module__ = subscriber.__module__
    call.__qualname__ = f"{subscriber.__qualname__}.{call.__name__}"
    return cast("Callable[..., Any]", call)
