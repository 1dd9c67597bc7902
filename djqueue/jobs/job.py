"""`Job`: the base of job classes. Fields are the arguments of a job, class keywords its options."""

from __future__ import annotations

import copy
import sys
from collections.abc import Coroutine
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar, overload

from djqueue.dispatch import dispatch as dispatching
from djqueue.jobs.definition.declaration import declare
from djqueue.jobs.definition.options import checked_overrides
from djqueue.jobs.definition.spec import JobInstance
from djqueue.runner.current import CurrentJob, current_job

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from djqueue.dispatch.dispatched import DispatchedJob
    from djqueue.jobs.definition.options import OptionKeywords, Overrides
    from djqueue.jobs.definition.spec import Handles

__all__ = ["ForeignMethod", "Job", "field"]

R = TypeVar("R")


class ForeignMethod:
    """A method that other queues have and jobs do not. Reading it raises an `AttributeError` that
    says what to use: `instead`, with the job's name for ``{name}``.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        shown = getattr(instance, "__name__", owner.__name__)
        instead = self._instead.replace("{name}", shown)
        raise AttributeError(f"{shown!r} has no {self._name}(). {instead}")


@dataclass_transform(field_specifiers=(field,))
class Job(JobInstance):
    """The base of job classes.

        class GenerateInvoicePdf(Job, queue="pdf", tries=3, backoff=[10, 60]):
            invoice: Invoice
            copies: int = 1

            def handle(self, gateway: Gateway = Inject(get_gateway)) -> str: ...

    Fields are the arguments, class keywords the options. Subclasses inherit both, except ``name``
    and ``aliases``. A class without ``handle`` is abstract. A worker calls the class with the
    loaded arguments, so ``__post_init__`` runs again there.

    Jobs with equal arguments are equal, but hashed by identity.
    """

    def __init_subclass__(cls, **options: Unpack[OptionKeywords]) -> None:
        super().__init_subclass__()
        declare(cls, Job, options)

    if not TYPE_CHECKING:
        delay = ForeignMethod(
            "Jobs are sent with dispatch(), as in {name}(…).dispatch(); later with "
            "{name}(…).using(delay=60).dispatch()."
        )
        apply_async = ForeignMethod(
            "Jobs are sent with dispatch(), as in {name}(…).dispatch(); with other "
            'options by {name}(…).using(queue="high", delay=60).dispatch().'
        )
        on_queue = ForeignMethod('Use {name}(…).using(queue="high").dispatch().')

    # -- sending -------------------------------------------------------------------------------

    def using(self, **overrides: Unpack[Overrides]) -> Self:
        """Return a copy that is dispatched with these options."""
        given = checked_overrides(overrides, f"{type(self).__name__}.using()")
        configured = copy.copy(self)
        configured._using = {**self._using, **given}
        return configured

    @overload
    def dispatch(self: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
    @overload
    def dispatch(self: Handles[R]) -> DispatchedJob[R]: ...
    def dispatch(self: Any) -> DispatchedJob[Any]:
        """Queue the job. On a ``sync`` connection it runs at once, and its error is raised.

        Raises `NotSerializable` for an argument that cannot be stored, `QueueUnavailable` when the
        store cannot be reached, and `SynchronousOnlyOperation` in an event loop: use ``adispatch``
        there. ``AFTER_COMMIT`` decides when a job becomes visible that is dispatched in a
        transaction.
        """
        return dispatching.dispatch(self)

    @overload
    async def adispatch(self: Handles[Coroutine[Any, Any, R]]) -> DispatchedJob[R]: ...
    @overload
    async def adispatch(self: Handles[R]) -> DispatchedJob[R]: ...
    async def adispatch(self: Any) -> DispatchedJob[Any]:
        """`dispatch` for coroutines, on the thread that Django's ORM uses for them."""
        return await dispatching.adispatch(self)

    @overload
    def dispatch_sync(self: Handles[Coroutine[Any, Any, R]]) -> R: ...
    @overload
    def dispatch_sync(self: Handles[R]) -> R: ...
    def dispatch_sync(self: Any) -> Any:
        """Run the job in this process, and return what ``handle()`` returned."""
        return dispatching.dispatch_sync(self)

    # -- running -------------------------------------------------------------------------------

    @property
    def job(self) -> CurrentJob:
        """The running attempt, as `current_job()` returns it. Raises `NotInJob` outside a job."""
        return current_job()
