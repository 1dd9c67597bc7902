"""`Job`: a job class is a dataclass whose fields are its arguments and whose class keywords are its
options.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from djqueue import arguments
from djqueue.dispatch import dispatch as dispatching
from djqueue.jobs.definition.declaration import declare
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.shown import show
from djqueue.jobs.wrong_turns import WrongTurn
from djqueue.runner.current import CurrentJob, current_job

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self, Unpack

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.jobs.definition.durations import When
    from djqueue.jobs.definition.options import OptionKeywords, Overrides
    from djqueue.jobs.definition.spec import JobSpec
    from djqueue.jobs.handles import Handles

__all__ = ["Job", "field"]

R = TypeVar("R")


@dataclass_transform(field_specifiers=(field,))
class Job:
    """The base of job classes.

        class GenerateInvoicePdf(Job, queue="pdf", tries=3, backoff=[10, 60]):
            invoice: Invoice
            copies: int = 1

            def handle(self, gateway: Gateway = Inject(get_gateway)) -> str: ...

    Fields are the arguments, class keywords the options; subclasses inherit both, but for
    ``name`` and ``aliases``. A class without ``handle`` is abstract. When a worker has loaded the
    arguments it makes the instance as anybody would, so ``__post_init__`` runs again.

    Equal arguments make equal jobs, yet each is hashed by its identity.
    """

    _own_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    _spec: ClassVar[JobSpec | None] = None
    _using: Mapping[str, Any] = MappingProxyType({})
    """What ``using()`` was given."""

    def __init_subclass__(cls, **options: Unpack[OptionKeywords]) -> None:
        super().__init_subclass__()
        declare(cls, Job, options)

    if TYPE_CHECKING:

        def handle(self, *args: Any, **kwargs: Any) -> Any:
            """Do the work; the value is what ``dispatch_sync()`` returns. May be ``async``."""

    else:
        delay = WrongTurn(
            "Jobs are sent with dispatch(), as in {name}(…).dispatch(); later with "
            "{name}(…).using(delay=60).dispatch()."
        )
        apply_async = WrongTurn(
            "Jobs are sent with dispatch(), as in {name}(…).dispatch(); with other "
            'options by {name}(…).using(queue="high", delay=60).dispatch().'
        )
        on_queue = WrongTurn('Use {name}(…).using(queue="high").dispatch().')

    def failed(self, error: BaseException) -> Any:
        """Called once when the job is given up, after its failed row is stored."""

    # -- sending -------------------------------------------------------------------------------

    def using(self, **overrides: Unpack[Overrides]) -> Self:
        """A copy that is dispatched with other options; what is not named stays."""
        given = checked_overrides(overrides, f"{type(self).__name__}.using()")
        configured = copy.copy(self)
        configured._using = {**self._using, **given}
        return configured

    @overload
    def dispatch(self: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
    @overload
    def dispatch(self: Handles[R]) -> DispatchedJob[R]: ...
    def dispatch(self: Any) -> DispatchedJob[Any]:
        """Queue the job. On ``sync`` connections it runs here and now, and raises its error.

        Raises `NotSerializable` for an argument that cannot be stored, `QueueUnavailable` when
        the store cannot be reached, and `SynchronousOnlyOperation` in an event loop, where
        ``adispatch()`` is meant. In a transaction, see ``AFTER_COMMIT``.
        """
        return dispatching.dispatch(self)

    @overload
    async def adispatch(self: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
    @overload
    async def adispatch(self: Handles[R]) -> DispatchedJob[R]: ...
    async def adispatch(self: Any) -> DispatchedJob[Any]:
        """``dispatch()`` for coroutines; on Django's own database connections, as any ORM call."""
        return await dispatching.adispatch(self)

    @overload
    def dispatch_sync(self: Handles[Coroutine[Any, Any, R]]) -> R: ...
    @overload
    def dispatch_sync(self: Handles[R]) -> R: ...
    def dispatch_sync(self: Any) -> Any:
        """Run the job here and now, stored and loaded as a queued one; ``handle()``'s value."""
        return dispatching.dispatch_sync(self)

    # -- running -------------------------------------------------------------------------------

    @property
    def job(self) -> CurrentJob:
        """The attempt that runs, as `current_job()` gives it. `NotInJob` outside a job."""
        return current_job()

    # -- options that a class may compute for each instance ------------------------------------

    def backoff(self) -> float | Sequence[float] | None:
        """Seconds before the next attempts. Asked after an attempt that raised."""
        return self._option("backoff")  # type: ignore[no-any-return]

    def retry_until(self) -> When | None:
        """Until when the job may be tried. Asked at the dispatch."""
        return self._option("retry_until")  # type: ignore[no-any-return]

    def tags(self) -> Sequence[str]:
        """Words to find the job by. Asked at the dispatch."""
        return self._option("tags")  # type: ignore[no-any-return]

    def display_name(self) -> str:
        """What the job is called where people read it."""
        return self._spec.name if self._spec else type(self).__qualname__

    def _option(self, name: str) -> Any:
        if name in self._using:
            return self._using[name]
        return getattr(self._spec.options, name) if self._spec else None

    # -- arguments -----------------------------------------------------------------------------

    def _arguments(self) -> Mapping[str, Any]:
        """The arguments by name, and perhaps more."""
        return self.__dict__

    @classmethod
    def _from_arguments(cls, values: Mapping[str, Any]) -> Job:
        return cls(**values)

    @classmethod
    def _annotations(cls) -> Mapping[str, Any]:
        """Each argument's type, in the order of the fields."""
        found = arguments.resolve_annotations(cls)
        return {each.name: found.get(each.name, Any) for each in _fields(cls)}

    @classmethod
    def _required(cls) -> frozenset[str]:
        """The arguments without a default."""
        return frozenset(
            each.name
            for each in _fields(cls)
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        )

    def __repr__(self) -> str:
        values = self._arguments()
        return show(
            type(self).__qualname__, {f.name: values.get(f.name) for f in _fields(type(self))}
        )


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    return [each for each in dataclasses.fields(cls) if each.init]
