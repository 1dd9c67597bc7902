"""`listen` and `Listener`: a function or a class that listens to events."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

from asgiref.sync import async_to_sync

from djqueue import arguments
from djqueue.errors import InvalidJob
from djqueue.events import queued as queueing
from djqueue.events.base import Event, is_event
from djqueue.events.registry import Registration, What, add
from djqueue.jobs.function import JobFunction
from djqueue.jobs.inject import injected

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from djqueue.jobs.definition.options import OptionKeywords

__all__ = ["Listener", "listen", "register"]

E = TypeVar("E")
E2 = TypeVar("E2")
P = ParamSpec("P")
R = TypeVar("R")
ShouldQueue = Callable[[Any], bool]


class Listener:
    """The base of listeners that are classes.

        class SendNote(Listener, event=OrderShipped, queue="mail", tries=3):
            def handle(self, event: OrderShipped) -> None: ...

            def failed(self, event: OrderShipped, error: BaseException) -> None: ...

    ``event`` is a class of events, a pattern or a list of such; without it, what ``handle`` says of
    its event. With ``queued=True``, or with any option of a job, it runs as a job. Then it may have
    ``should_queue(event)``, ``failed(event, error)``, what a job computes for itself
    (``backoff(event)``, ``middleware(event)``, ``tags(event)``, ``unique_id(event)`` …) and
    ``queue_for(event)``, ``connection_for(event)``, ``delay_for(event)``. A new instance is made
    for each event. A subclass without an event of its own, and without ``handle``, listens to
    nothing.
    """

    job_class: ClassVar[type[queueing.ListenerJob] | None] = None
    """The class of its jobs, where it is queued."""
    _options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    _queued: ClassVar[bool] = False

    if TYPE_CHECKING:

        def handle(self, event: Any, *args: Any, **kwargs: Any) -> Any:
            """Do the work. May be ``async``, and have `Inject` parameters."""

    def __init_subclass__(
        cls,
        *,
        event: What | Sequence[What] | None = None,
        queued: bool | None = None,
        **options: Unpack[OptionKeywords],
    ) -> None:
        super().__init_subclass__()
        where = f"class {cls.__qualname__}"
        inherited = {k: v for k, v in cls._options.items() if k not in ("name", "aliases")}
        is_queued = _is_queued(queued, options, where)
        if queued is False:
            inherited = {k: v for k, v in inherited.items() if k == "after_commit"}
        cls._options = {**inherited, **options}
        cls._queued = is_queued or (cls._queued and queued is None)
        cls.job_class = None
        if not hasattr(cls, "handle") or (event is None and "handle" not in cls.__dict__):
            return
        cls.job_class = queueing.of_class(cls, cls._options) if cls._queued else None
        register(_whats(event, cls.handle, where), cls, cls.job_class, cls._options)


class _Decorator(Generic[E]):
    """``@listen(OrderShipped)``, before it is applied to a function."""

    def __init__(self, apply: Callable[[Any], Any]) -> None:
        self._apply = apply

    def __call__(self, listener: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
        self._apply(listener)
        return listener


@overload
def listen(
    event: type[E],
    /,
    *,
    queued: bool | None = None,
    should_queue: Callable[[E], bool] | None = None,
    **options: Unpack[OptionKeywords],
) -> _Decorator[E]: ...
@overload
def listen(
    event: type[E],
    other: type[E2],
    /,
    *,
    queued: bool | None = None,
    should_queue: Callable[[E | E2], bool] | None = None,
    **options: Unpack[OptionKeywords],
) -> _Decorator[E | E2]: ...
@overload
def listen(
    *events: What,
    queued: bool | None = None,
    should_queue: ShouldQueue | None = None,
    **options: Unpack[OptionKeywords],
) -> _Decorator[Any]: ...
def listen(
    *events: Any,
    queued: bool | None = None,
    should_queue: ShouldQueue | None = None,
    **options: Unpack[OptionKeywords],
) -> _Decorator[Any]:
    """Let a function listen to events: classes, or patterns such as ``"shop.*"``; without any, to
    those that the annotation of its first parameter names.

    It runs where the event is fired, or with ``queued=True`` (or any option of a job) as a job,
    if ``should_queue(event)`` does not say otherwise. ``after_commit=True`` lets a plain one wait
    for the commit of the transactions that are open. A function decorated with ``@job`` is queued
    with its own options. The function itself stays what it is.
    """

    def apply(function: Any) -> None:
        where = f"@listen {getattr(function, '__qualname__', repr(function))}"
        _refuse_nameless(function, where)
        whats = _whats(events or None, function, where)
        if isinstance(function, JobFunction):
            if queued is False or options:
                raise InvalidJob(f"{where}: a job has options of its own. Give them to @job.")
            _register_job(whats, function, should_queue)
            return
        job_class = None
        if _is_queued(queued, options, where):
            _refuse_method(function, where)
            job_class = function.job_class = queueing.of_function(function, options)
        elif should_queue is not None:
            raise InvalidJob(f"{where}: should_queue= is for a queued listener: queued=True.")
        register(whats, function, job_class, options, should_queue)

    return _Decorator(apply)


def register(
    whats: Sequence[What],
    listener: Any,
    job_class: type[queueing.ListenerJob] | None,
    options: Mapping[str, Any],
    should_queue: ShouldQueue | None = None,
) -> None:
    """Add a listener to what it listens to."""
    call: Callable[[Any], Any]
    if job_class is None:
        call = _plain(listener)
    else:
        call = queueing.queue_it(job_class, listener)
        if isinstance(listener, type) and hasattr(listener, "should_queue"):
            should_queue = _own_should_queue(listener)
        if should_queue is not None:
            call = _where(should_queue, call)
    waits = job_class is None and bool(options.get("after_commit"))
    for what in whats:
        add(Registration(what, listener, call, waits, job_class))


def _register_job(
    whats: Sequence[What], function: JobFunction[..., Any, Any], should_queue: ShouldQueue | None
) -> None:
    def call(given: Event) -> None:
        function.dispatch(given)

    chosen = call if should_queue is None else _where(should_queue, call)
    for what in whats:
        add(Registration(what, function, chosen, job_class=function.job_class))


def _where(should_queue: ShouldQueue, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda given: call(given) if should_queue(given) else None


def _own_should_queue(listener: Any) -> ShouldQueue:
    return lambda given: bool(listener().should_queue(given))


def _plain(listener: Any) -> Callable[[Any], Any]:
    """Return what calls a listener here, to its end if it is async."""
    if isinstance(listener, type):
        handle: Any = injected(listener.handle)  # type: ignore[attr-defined]
        if inspect.iscoroutinefunction(handle):
            handle = async_to_sync(handle)
        return lambda given: handle(listener(), given)
    call = injected(listener)
    return async_to_sync(call) if inspect.iscoroutinefunction(call) else call


def _refuse_nameless(function: Any, where: str) -> None:
    if not hasattr(function, "__qualname__"):
        raise InvalidJob(
            f"{where}: a functools.partial or another object that can be called has no name to be "
            "known by. Write a function that calls it."
        )


def _refuse_method(function: Any, where: str) -> None:
    if inspect.ismethod(function) or inspect.isbuiltin(function):
        raise InvalidJob(
            f"{where}: a worker does not have the object of this method. Queue a function, or a "
            "method of a subscriber."
        )


def _is_queued(queued: bool | None, options: Mapping[str, Any], where: str) -> bool:
    """Return whether a listener with these options is queued."""
    about_jobs = sorted(set(options) - {"after_commit"})
    if queued is False and about_jobs:
        raise InvalidJob(
            f"{where}: {about_jobs[0]} is an option of a job, and with queued=False there is none."
        )
    return bool(queued or about_jobs)


def _whats(given: Any, function: Any, where: str) -> list[What]:
    """Return what a listener listens to: what was given, or what its annotation names."""
    if given is None:
        return _annotated(function, where)
    found = list(given) if isinstance(given, (list, tuple, set, frozenset)) else [given]
    for each in found:
        if not isinstance(each, str) and not is_event(each):
            raise InvalidJob(
                f"{where} listens to {each!r:.150}, which is neither a class of events nor a "
                'pattern such as "shop.*".'
            )
    return found


def _annotated(function: Any, where: str) -> list[What]:
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    annotation = arguments.resolve_annotations(function).get(parameters[0]) if parameters else None
    found: list[Any] = list(typing.get_args(annotation)) or [annotation]
    if not all(map(is_event, found)):
        raise InvalidJob(
            f"{where} says of no event: name it, as in listen(OrderShipped), or annotate the first "
            "parameter with a class of events."
        )
    return found
