"""`@job`: a function as a job."""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast, overload

from djqueue import arguments
from djqueue.dispatch import dispatch as dispatching
from djqueue.errors import InvalidJob
from djqueue.jobs.definition.declaration import refuse_generator
from djqueue.jobs.definition.options import OVERRIDES, checked_overrides
from djqueue.jobs.definition.signature import Signature, read_signature
from djqueue.jobs.inject import injected
from djqueue.jobs.job import ForeignMethod, Job

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.jobs.definition.options import OptionKeywords, Overrides

__all__ = ["FunctionJob", "JobFunction", "job"]

P = ParamSpec("P")
R = TypeVar("R")
Returned = TypeVar("Returned")
"""What a plain call returns: the result, or a coroutine that gives it."""


class FunctionJob(Job):
    """The job of a ``@job`` function: a call that is not made yet. Its arguments are attributes."""

    arguments: dict[str, Any]
    _function: ClassVar[Callable[..., Any]]
    _signature: ClassVar[Signature]

    def _arguments(self) -> Mapping[str, Any]:
        return self.arguments

    @classmethod
    def _from_arguments(cls, values: Mapping[str, Any]) -> Job:
        return cls({**cls._signature.defaults, **values})

    @classmethod
    def _returns(cls) -> Any:
        return arguments.resolve_annotations(cls._function).get("return", Any)

    @classmethod
    def _annotations(cls) -> Mapping[str, Any]:
        found = arguments.resolve_annotations(cls._function)
        signature = cls._signature
        named: dict[str, Any] = {name: found.get(name, Any) for name in signature.names}
        if signature.star:
            named[signature.star] = types.GenericAlias(tuple, (named[signature.star], ...))
        if signature.double_star:
            named[signature.double_star] = types.GenericAlias(
                dict, (str, named[signature.double_star])
            )
        return named

    @classmethod
    def _required(cls) -> frozenset[str]:
        return frozenset(cls._signature.names) - frozenset(cls._signature.defaults)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("arguments", {})
        if name in values:
            return values[name]
        return super().__getattribute__(name)  # for its error

    def __repr__(self) -> str:
        return self._call_repr(self.arguments)


class JobFunction(Generic[P, R, Returned]):
    """A function decorated with ``@job``. Calling it runs it, dispatching it queues it."""

    if not TYPE_CHECKING:
        delay = ForeignMethod(
            "Jobs are sent with dispatch(), as in {name}.dispatch(…); later with "
            "{name}.using(delay=60).dispatch(…)."
        )
        apply_async = ForeignMethod(
            "Jobs are sent with dispatch(), as in {name}.dispatch(…); with other options by "
            '{name}.using(queue="high", delay=60).dispatch(…).'
        )
        on_queue = ForeignMethod('Use {name}.using(queue="high").dispatch(…).')

    def __init__(self, function: Callable[P, Returned], options: Mapping[str, Any]) -> None:
        self.job_class, self._call = _make_class(function, options)
        """The class of its jobs, and the sender of its signals."""
        self._bind = self.job_class._signature.bind
        self._using: Mapping[str, Any] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Returned:
        """Call the function, with its injected parameters filled in. Nothing is queued."""
        return self._call(*args, **kwargs)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Return the job of this call without sending it, as for ``dispatch_many()``."""
        try:
            bound = self.job_class(self._bind(*args, **kwargs))
        except TypeError as error:
            raise self._with_hint(error, kwargs) from None
        if self._using:
            bound._using = self._using
        return bound

    def using(self, **overrides: Unpack[Overrides]) -> Self:
        """Return a copy that is dispatched with these options."""
        given = checked_overrides(overrides, f"{self.job_class.__name__}.using()")
        configured = copy.copy(self)
        configured._using = {**self._using, **given}
        return configured

    def dispatch(self, *args: P.args, **kwargs: P.kwargs) -> DispatchedJob[R]:
        """Queue a call, as `Job.dispatch` does. Wrong arguments raise `TypeError`."""
        return dispatching.dispatch(self.bind(*args, **kwargs))

    async def adispatch(self, *args: P.args, **kwargs: P.kwargs) -> DispatchedJob[R]:
        """`dispatch` for coroutines."""
        return await dispatching.adispatch(self.bind(*args, **kwargs))

    def dispatch_sync(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the call as a job in this process, and return its value."""
        return cast("R", dispatching.dispatch_sync(self.bind(*args, **kwargs)))

    def _with_hint(self, error: TypeError, keywords: Mapping[str, Any]) -> TypeError:
        """Return the error of a call; for the name of an option, with how to set options."""
        for name in keywords:
            if name in OVERRIDES and name not in self.job_class._signature.names:
                shown = f"{self.__name__}.using({name}=…).dispatch(…)"  # type: ignore[attr-defined]
                return TypeError(f"{error}. {name} is an option: {shown}")
        return error

    def __repr__(self) -> str:
        return f"<job {self.job_class.__qualname__}>"


class _Decorator:
    """``@job(queue="mail")``, before it is applied to a function."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> JobFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> JobFunction[P, R, R]: ...
    def __call__(self, function: Callable[..., Any]) -> JobFunction[..., Any, Any]:
        return JobFunction(function, self._options)


@overload
def job(
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> JobFunction[P, R, Coroutine[Any, Any, R]]: ...
@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R, R]: ...
@overload
def job(**options: Unpack[OptionKeywords]) -> _Decorator: ...
def job(
    function: Callable[..., Any] | None = None, /, **options: Unpack[OptionKeywords]
) -> JobFunction[..., Any, Any] | _Decorator:
    """Make a job of a function. It takes the options of `Job`.

        @job(queue="mail", tries=5)
        def send_registration_mail(user: User, *, template: str = "welcome") -> None: ...

    Parameters whose default is `Inject` are filled in when the job runs. Parameters may have names
    that `Job` reserves for its own use, such as ``queue`` and ``tags``.
    """
    decorator = _Decorator(options)
    return decorator if function is None else decorator(function)


def _refuse_method(function: Callable[..., Any], where: str) -> None:
    """Raise `InvalidJob` for a function that is a method of a class."""
    body = function.__qualname__.rpartition(".")[0]
    first = next(iter(inspect.signature(function).parameters), None)
    if body and not body.endswith("<locals>") and first in ("self", "cls"):
        raise InvalidJob(
            f"{where}: {first} of a method cannot be queued. Make it a function outside the class "
            f"that takes what it needs, or a job class: class {function.__name__.title()}(Job), "
            "whose fields are its arguments."
        )


def _make_class(
    function: Callable[..., Returned], options: Mapping[str, Any]
) -> tuple[type[FunctionJob], Callable[..., Returned]]:
    """Return the class of a function's jobs, and the function with its parameters injected."""
    if isinstance(function, str):
        raise InvalidJob(
            f"@job takes options by name: @job(queue={function!r}) for a queue, or"
            f" @job(name={function!r}) for the stored name."
        )
    if not inspect.isfunction(function):
        raise InvalidJob(
            f"@job decorates functions, not {function!r:.100}. For a class, derive from "
            "djqueue.Job."
        )
    where = f"@job {function.__qualname__}"
    if not function.__name__.isidentifier():
        raise InvalidJob(f"{where}: a lambda has no stable name. Use def.")
    refuse_generator(function, where)
    _refuse_method(function, where)
    signature = read_signature(function)
    call = injected(function)

    async def handle_async(self: FunctionJob) -> Any:
        coroutine: Any = signature.call(call, self.arguments)
        return await coroutine

    def handle(self: FunctionJob) -> Any:
        return signature.call(call, self.arguments)

    body = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "_function": staticmethod(function),
        "_signature": signature,
        "handle": handle_async if inspect.iscoroutinefunction(function) else handle,
    }
    made = types.new_class(
        function.__name__, (FunctionJob,), dict(options), lambda namespace: namespace.update(body)
    )
    return cast("type[FunctionJob]", made), call
