"""Who listens to what. Modules that define listeners register them when they are imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from djqueue.events.base import Event, when_there_is_another
from djqueue.jobs.definition.declaration import read_again

if TYPE_CHECKING:
    from djqueue.jobs.job import Job

__all__ = ["Registration", "add", "changed", "forget", "identity", "is_of", "kept"]
__all__ += ["listeners_of", "registrations"]

What = type[Event] | str
"""A class of events, or a pattern that their names match: ``shop.*``."""


@dataclass(frozen=True)
class Registration:
    """One listener of one class of events or pattern."""

    what: What
    listener: Any
    """What the project wrote: a function, a class, a method of a subscriber."""
    call: Callable[[Any], Any]
    """Takes the event, and returns the listener's answer."""
    after_commit: bool = False
    job_class: type[Job] | None = None
    """The class of its jobs, where it is queued."""

    def takes(self, kind: type[Event]) -> bool:
        """Return whether it listens to events of this class, or of a base of it."""
        if isinstance(self.what, str):
            return fnmatchcase(kind.event_name, self.what)
        return issubclass(kind, self.what)

    def __str__(self) -> str:
        return f"{self.listener.__module__}.{self.listener.__qualname__}"


_registered: dict[Hashable, Registration] = {}
"""By what they listen to and which listener it is, in order of registration."""
_found: dict[type[Event], tuple[Registration, ...]] = {}
"""What `listeners_of` has answered."""


def add(registration: Registration) -> None:
    """Register a listener. One that listens to the same already, or did before its module was
    imported again, is replaced.
    """
    _registered[registration.what, identity(registration.listener)] = registration
    changed()


def identity(listener: Any) -> Hashable:
    """Return what two imports of one listener have in common. What the same code may have made
    several of is only itself: closures, local functions with defaults, local classes.
    """
    if subscriber := getattr(listener, "_subscriber", None):
        return (identity(inspect.unwrap(listener)), identity(subscriber))
    found = inspect.unwrap(listener)
    local = "<locals>" in found.__qualname__ or "<lambda>" in found.__qualname__
    if isinstance(found, type):
        return found if local else (found.__module__, found.__qualname__)
    if (owner := getattr(found, "__self__", None)) is not None:
        of_class = isinstance(owner, type)
        return (found.__qualname__, identity(owner) if of_class else id(owner))
    code = getattr(found, "__code__", None)
    if code is None:
        return (found.__module__, found.__qualname__)
    if found.__closure__ or (local and (found.__defaults__ or found.__kwdefaults__)):
        return cast("Hashable", found)
    return (code.co_filename, code.co_firstlineno, found.__qualname__)


def is_of(registration: Registration, listener: Any) -> bool:
    """Return whether a registration is of this listener; a method of a subscriber is that of each
    subscriber that has it.
    """
    own, found = identity(listener), registration.listener
    return own in (identity(found), identity(inspect.unwrap(found)))


def changed() -> None:
    """Look again who listens to what: there is a new event or listener."""
    global _found
    _found = {}
    for each in tuple(_registered.values()):
        if each.job_class is not None:
            read_again(each.job_class)


def listeners_of(kind: type[Event]) -> tuple[Registration, ...]:
    """Return who listens to a class of events, in the order in which they are called: those of the
    class itself, those of patterns, those of its bases; each once.
    """
    known = _found
    found = known.get(kind)
    if found is None:
        # A change while it looks makes a new dict: this answer goes with the old one.
        found = known[kind] = _look(kind)
    return found


def _look(kind: type[Event]) -> tuple[Registration, ...]:
    taking = [each for each in tuple(_registered.values()) if each.takes(kind)]
    bases = list(kind.__mro__)

    def place(each: Registration) -> int:
        if isinstance(each.what, str):
            return 1
        nearness = bases.index(each.what)
        return nearness and nearness + 1

    once: dict[Hashable, Registration] = {}
    for each in sorted(taking, key=place):
        once.setdefault(identity(each.listener), each)
    return tuple(once.values())


def registrations() -> list[Registration]:
    """Return all of them, in order of registration."""
    return list(_registered.values())


def forget(listener: Any) -> int:
    """Remove a listener from everything it listens to. Return from how much that was."""
    keys = [key for key, each in _registered.items() if is_of(each, listener)]
    for key in keys:
        del _registered[key]
    changed()
    return len(keys)


def kept() -> Callable[[], None]:
    """Return what brings back the listeners of this moment."""
    before = dict(_registered)

    def restore() -> None:
        _registered.clear()
        _registered.update(before)
        changed()

    return restore


when_there_is_another.append(changed)
