"""Queued listeners: each is a job whose argument is the event."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, ClassVar, Union, cast

from djqueue.errors import InvalidJob
from djqueue.events.base import Event, all_events
from djqueue.events.registry import identity, registrations
from djqueue.jobs.definition.declaration import PLAIN_METHODS, stored_name
from djqueue.jobs.inject import injected
from djqueue.jobs.job import Job

__all__ = ["ListenerJob", "of_class", "of_function", "queue_it"]

_CHOOSING = {"queue_for": "queue", "connection_for": "connection", "delay_for": "delay"}
"""Methods of a listener that choose an option for each event."""


class ListenerJob(Job):
    """The base of the jobs of queued listeners."""

    event: Event
    _events: ClassVar[Callable[[], Any]]

    @classmethod
    def _annotations(cls) -> Mapping[str, Any]:
        return {"event": _kinds(cls)}


@dataclass
class _NoEvent:
    """Beside a single class of events it lets the stored name decide: see `arguments.named`."""


def _kinds(job_class: type[Job]) -> Any:
    """Return the union of the classes of events that a listener gets: a payload chooses among
    these alone. A listener that is registered several times has several classes of jobs, which
    have one name.
    """
    own = [each for each in registrations() if _name(each.job_class) == _name(job_class)]
    found = [kind for kind in all_events() if any(each.takes(kind) for each in own)]
    return Union[(*dict.fromkeys(found), _NoEvent)] if found else Event


def _name(job_class: type[Job] | None) -> str | None:
    return job_class._spec.name if job_class and job_class._spec else None


def of_function(function: Callable[..., Any], options: Mapping[str, Any]) -> type[ListenerJob]:
    """Return the class of the jobs of a function, or of a method of a subscriber."""
    call = injected(function)

    def handle(self: ListenerJob) -> Any:
        return call(self.event)

    async def handle_async(self: ListenerJob) -> Any:
        return await call(self.event)

    body = {"handle": handle_async if iscoroutinefunction(function) else handle}
    name = function.__qualname__.rpartition("<locals>.")[2]
    return _make(function, name, options, body)


def of_class(listener: type[Any], options: Mapping[str, Any]) -> type[ListenerJob]:
    """Return the class of the jobs of a `Listener`. Its methods take the event."""
    call: Any = injected(listener.handle)

    def handle(self: ListenerJob) -> Any:
        return call(listener(), self.event)

    async def handle_async(self: ListenerJob) -> Any:
        return await call(listener(), self.event)

    body: dict[str, Any] = {
        "handle": handle_async if iscoroutinefunction(listener.handle) else handle
    }
    if hasattr(listener, "failed"):
        body["failed"] = lambda self, error: cast("Any", listener()).failed(self.event, error)
    for name in PLAIN_METHODS:
        if hasattr(listener, name):
            body[name] = _passing_event(listener, name)
    return _make(listener, listener.__name__, options, body)


def _passing_event(listener: type[Any], name: str) -> Callable[[ListenerJob], Any]:
    def method(self: ListenerJob) -> Any:
        return getattr(listener(), name)(self.event)

    method.__name__ = name
    return method


def _make(
    listener: Any, name: str, options: Mapping[str, Any], body: Mapping[str, Any]
) -> type[ListenerJob]:
    _refuse_name(listener, name, options)
    more = {
        "__module__": listener.__module__,
        "__qualname__": listener.__qualname__,
        "__doc__": listener.__doc__,
    }
    made = types.new_class(
        name, (ListenerJob,), dict(options), lambda namespace: namespace.update({**body, **more})
    )
    return cast("type[ListenerJob]", made)


def _refuse_name(listener: Any, name: str, options: Mapping[str, Any]) -> None:
    """Raise `InvalidJob` where the jobs of a listener have no stable name, or that of another."""
    where = f"listener {listener.__qualname__}"
    stored = options.get("name")
    if not stored and ("<locals>" in listener.__qualname__ or "<lambda>" in name):
        raise InvalidJob(
            f"{where}: its jobs have no stable name, as it is a lambda or is defined in a function."
            ' Give them one: name="app_label.send_note".'
        )
    stored = stored or stored_name(listener.__module__, name, where)
    own = identity(listener)
    for each in registrations():
        if _name(each.job_class) == stored and identity(each.listener) != own:
            raise InvalidJob(
                f"{where}: the jobs of {each} are called {stored!r} too, so a worker could not tell"
                " one from the other. Give it another name=."
            )


def queue_it(job_class: type[ListenerJob], listener: Any) -> Callable[[Event], None]:
    """Return what queues a job of `listener` for an event."""
    chooses = [(name, option) for name, option in _CHOOSING.items() if hasattr(listener, name)]

    def call(given: Event) -> None:
        job: Any = job_class(given)
        if chooses:
            own = listener()
            job = job.using(**{option: getattr(own, name)(given) for name, option in chooses})
        job.dispatch()

    return call
