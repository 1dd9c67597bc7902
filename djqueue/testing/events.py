"""`fake_events`: events are recorded instead of fired."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from djqueue.events.base import Event, is_event
from djqueue.events.recording import recorders
from djqueue.events.registry import is_of, listeners_of
from djqueue.testing.decorating import decorated
from djqueue.testing.nearest import times_in_words

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeEvents", "fake_events"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Where = Callable[[Any], object]
MOST_SHOWN = 10


class FakeEvents:
    """The events of the process while it is in use, from any thread, before the commit. Their
    listeners are not called.
    """

    def __init__(
        self, only: Iterable[type[Event]] = (), except_: Iterable[type[Event]] = ()
    ) -> None:
        """Raises `TypeError` for both together, and for what is no class of events."""
        self._only, self._except = tuple(only), tuple(except_)
        if self._only and self._except:
            raise TypeError("fake_events() takes only= or except_=, not both.")
        for each in (*self._only, *self._except):
            _refuse_others(each)
        self.recorded: list[Event] = []
        """Each event, in order."""

    def __enter__(self) -> FakeEvents:
        recorders.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorders.remove(self)

    def __call__(self, target: Decorated) -> Decorated:
        """Decorate a test function, or a class for each of its tests, with a fake of its own."""
        return decorated(target, lambda: FakeEvents(self._only, self._except), "fake_events")

    def takes(self, given: Event) -> bool:
        """Return whether an event is recorded. Called by `event`."""
        if self._only:
            return isinstance(given, self._only)
        return not isinstance(given, self._except)

    def record(self, given: Event) -> None:
        """Take an event. Called by `event`."""
        self.recorded.append(given)

    def fired(self, event: type[Event], where: Where | None = None) -> list[Any]:
        """The recorded events of a class (subclasses included), in order; those only for which
        ``where(event)`` is true.
        """
        _refuse_others(event)
        found = [each for each in self.recorded if isinstance(each, event)]
        return [each for each in found if where is None or where(each)]

    def assert_event(
        self, event: type[Event], times: int | None = None, where: Where | None = None
    ) -> None:
        """Fail unless `event` was fired: exactly `times` times, or at least once, with
        ``where(event)`` true.
        """
        __tracebackhide__ = True
        found = len(self.fired(event, where))
        if found == times or (times is None and found):
            return
        wanted = "" if times is None else f", not {times_in_words(times)}"
        raise AssertionError(
            f"{_named(event, where)} was fired {times_in_words(found)}{wanted}.\n{self._shown()}"
        )

    def assert_no_event(self, event: type[Event] = Event, where: Where | None = None) -> None:
        """Fail if `event` was fired, as `fired` says; without it, if any was."""
        __tracebackhide__ = True
        if found := self.fired(event, where):
            raise AssertionError(
                f"{_named(event, where)} was fired {times_in_words(len(found))}.\n{self._shown()}"
            )

    def assert_listening(self, event: type[Event], listener: Any) -> None:
        """Fail unless `listener` (a function, a `Listener` class, or a method of a subscriber)
        listens to `event`.
        """
        __tracebackhide__ = True
        _refuse_others(event)
        found = listeners_of(event)
        if not any(is_of(each, listener) for each in found):
            name = getattr(listener, "__qualname__", repr(listener))
            lines = "".join(f"\n  {each}" for each in found) or "\n  (no listener)"
            raise AssertionError(f"{name} does not listen to {event.__name__}. Listening:{lines}")

    def _shown(self) -> str:
        if not self.recorded:
            return "No event was fired."
        lines = ["Fired:", *(f"  {each!r:.200}" for each in self.recorded[:MOST_SHOWN])]
        if len(self.recorded) > MOST_SHOWN:
            lines.append(f"  and {len(self.recorded) - MOST_SHOWN} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<FakeEvents: {len(self.recorded)} recorded>"


@overload
def fake_events(
    *, only: Iterable[type[Event]] = (), except_: Iterable[type[Event]] = ()
) -> FakeEvents: ...
@overload
def fake_events(target: Decorated) -> Decorated: ...
def fake_events(
    target: Any = None, *, only: Iterable[type[Event]] = (), except_: Iterable[type[Event]] = ()
) -> Any:
    """Record events instead of calling their listeners: those of the classes in `only`, or all but
    those in `except_`. The others are fired as ever.

        with fake_events() as events:
            order.ship()
        events.assert_event(OrderShipped, where=lambda event: event.order == order)

    Also a decorator, which gives the fake to the argument that a call lacks, and a pytest fixture.
    """
    fake = FakeEvents(only, except_)
    return fake if target is None else fake(target)


def _refuse_others(event: object) -> None:
    if not is_event(event):
        raise TypeError(f"{event!r:.200} is no class of events.")


def _named(event: type[Event], where: Where | None) -> str:
    return event.__name__ if where is None else f"{event.__name__}, where where= holds,"
