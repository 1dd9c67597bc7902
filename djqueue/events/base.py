"""`Event`: the base of events. Each is a dataclass that says what happened."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import ClassVar

from django.apps import apps

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

__all__ = ["Event", "all_events", "is_event", "when_there_is_another"]

when_there_is_another: list[Callable[[], None]] = []
"""Called when a class of events is defined."""


@dataclass_transform(field_specifiers=(field,))
class Event:
    """The base of events.

        class OrderShipped(Event):
            order: Order

    Its fields say what happened. Queued listeners get a copy: models are fetched again by their
    keys, so fields may hold what the arguments of a job may.

    With ``after_commit=True`` the event waits for the commit of the transactions that are open, and
    is dropped if one rolls back. ``name`` is what patterns match, ``app_label.OrderShipped`` where
    it is not given. Subclasses of an event are events of their own, and go to the listeners of
    their bases too.

    It is a dataclass already: ``frozen`` and ``kw_only`` are given as keywords of the class. The
    subclasses of a frozen event are frozen.
    """

    event_name: ClassVar[str] = ""
    """What patterns match."""
    _after_commit: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        after_commit: bool | None = None,
        frozen: bool = False,
        kw_only: bool = False,
    ) -> None:
        super().__init_subclass__()
        params = getattr(cls, "__dataclass_params__", None)
        is_frozen = frozen or (params is not None and params.frozen)
        dataclasses.dataclass(frozen=is_frozen, kw_only=kw_only)(cls)
        cls.event_name = name or _stored_name(cls)
        if after_commit is not None:
            cls._after_commit = after_commit
        for tell in when_there_is_another:
            tell()


def _stored_name(cls: type) -> str:
    config = apps.get_containing_app_config(cls.__module__)
    label = config.label if config else cls.__module__.partition(".")[0]
    return f"{label}.{cls.__name__}"


def is_event(value: object) -> bool:
    """Return whether `value` is a class of events."""
    return isinstance(value, type) and issubclass(value, Event)


def all_events(base: type[Event] = Event) -> Iterator[type[Event]]:
    """Return the subclasses of a class of events that the running code knows, at any depth."""
    for each in base.__subclasses__():
        yield each
        yield from all_events(each)
