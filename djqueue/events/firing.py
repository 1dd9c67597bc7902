"""Firing events: their listeners are called, or queued."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from functools import partial, wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async

from djqueue.databases.transactions import open_aliases
from djqueue.dispatch.commits import when_all_commit
from djqueue.events.base import Event, is_event
from djqueue.events.deferring import Deferred, deferred, take
from djqueue.events.recording import recorders
from djqueue.events.registry import listeners_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from djqueue.events.registry import Registration

__all__ = ["aevent", "auntil", "defer", "event", "until"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def event(given: Event) -> list[Any]:
    """Call the listeners of an event, and return their answers.

    Listeners of its class come first, then those of patterns, then those of its bases, each kind in
    the order of registration. A listener that returns ``False`` stops the rest, and one that raises
    as well: its error reaches the caller. A queued one is a job from now on, and answers None; its
    errors are the job's.

    An event that waits, for a commit or for the end of `defer`, has no answers yet: the list is
    empty.
    """
    _refuse_others(given)
    found = listeners_of(type(given))
    if (not found and not recorders) or _waits(given):
        return []
    return _call(given, found)


def until(given: Event) -> Any:
    """Call the listeners of an event until one answers; return its answer, which may be False, or
    None. An event that is fired so never waits.
    """
    _refuse_others(given)
    if _is_recorded(given):
        return None
    answers = _call(given, listeners_of(type(given)), until=True)
    return answers[-1] if answers else None


async def aevent(given: Event) -> list[Any]:
    """`event` for coroutines, on the thread that Django's ORM uses for them."""
    answers: list[Any] = await sync_to_async(event)(given)
    return answers


async def auntil(given: Event) -> Any:
    """`until` for coroutines."""
    return await sync_to_async(until)(given)


class defer(ContextDecorator):  # noqa: N801 - used like a function
    """Let the events that are fired in the block wait for its end; with `kinds`, only events of
    these classes.

        with defer():
            order.ship()  # fires OrderShipped, which reaches its listeners below
            order.save()

    An exception that leaves the block drops them. A block inside another one fires its own events
    when it ends; those that are not of its `kinds` wait for the outer one. `event` returns an empty
    list for an event that waits. In a coroutine write ``async with defer():``, so that listeners do
    not run on the event loop's thread but on the one that Django's ORM uses. ``@defer()`` makes a
    function such a block, sync or async.
    """

    def __init__(self, *kinds: type[Event]) -> None:
        self._kinds = kinds

    def __call__(self, function: _Function) -> _Function:
        """Return `function` as a block. Raises `TypeError` for a generator function."""
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            name = getattr(function, "__name__", repr(function))
            raise TypeError(
                f"@defer() cannot be around {name}, a generator function: the block would end "
                "before its code begins. Write with defer(): inside of it."
            )
        if not iscoroutinefunction(function):
            return super().__call__(function)

        @wraps(function)
        async def in_block(*args: Any, **kwargs: Any) -> Any:
            async with type(self)(*self._kinds):
                return await function(*args, **kwargs)

        return cast("_Function", in_block)

    def __enter__(self) -> None:
        deferred.set(Deferred(self._kinds, deferred.get()))

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        events = _end_block()
        if error is None:
            _fire(events)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        events = _end_block()
        if error is None and events:
            await sync_to_async(_fire)(events)


def _end_block() -> list[Event]:
    """End the innermost block, and return the events that it has taken."""
    block = deferred.get()
    assert block is not None  # noqa: S101 - a block is ended where it has begun
    block.open = False
    deferred.set(block.outer)
    return block.events


def _fire(events: Iterable[Event]) -> None:
    token = deferred.set(None)  # what listeners fire themselves waits for no outer block
    try:
        for each in events:
            if not _waits_for_commit(each):
                _call_all(each)
    finally:
        deferred.reset(token)


def _waits(given: Event) -> bool:
    """Return whether the event was taken by a test, a block of `defer` or a transaction."""
    if recorders and _is_recorded(given):
        return True
    return take(given) or _waits_for_commit(given)


def _is_recorded(given: Event) -> bool:
    """Return whether a test took the event."""
    for each in reversed(tuple(recorders)):
        if each.takes(given):
            each.record(given)
            return True
    return False


def _waits_for_commit(given: Event) -> bool:
    if not given._after_commit or not (aliases := open_aliases()):
        return False
    when_all_commit(aliases, partial(_call_all, given))
    return True


def _call_all(given: Event) -> None:
    _call(given, listeners_of(type(given)))


def _call(given: Event, listeners: tuple[Registration, ...], *, until: bool = False) -> list[Any]:
    """Call listeners until one returns False, or with `until` until one answers. Return their
    answers.
    """
    answers = []
    for each in listeners:
        if each.after_commit and (aliases := open_aliases()):
            when_all_commit(aliases, partial(each.call, given))
            continue
        answer = each.call(given)
        if answer is False and not until:
            break
        answers.append(answer)
        if until and answer is not None:
            break
    return answers


def _refuse_others(given: object) -> None:
    if isinstance(given, Event):
        return
    if is_event(given):
        name = getattr(given, "__name__", "")
        raise TypeError(f"{name} is a class: fire an instance, as in event({name}(…)).")
    raise TypeError(
        f"{given!r:.200} is no event. Events are instances of subclasses of djqueue.events.Event."
    )
