"""The chain of callables around ``handle()``, composed once a class.

Each may be a function or a coroutine function, and so may ``handle()``: where two neighbours
differ, the outer one is given a ``next`` of its own kind. Synchronous ones run on the thread of the
job, coroutines in its event loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.utils.module_loading import import_string

from djqueue.conf import settings

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobSpec
    from djqueue.runner.current import CurrentJob

__all__ = ["Pipelines", "loaded"]

Next = Callable[["CurrentJob"], Any]
Middleware = Callable[["CurrentJob", Next], Any]
Finish = Callable[[Any], Any]
"""Gives what a call returned; a coroutine is run to its end first."""


class Pipelines(dict["JobSpec", "Next | None"]):
    """The middleware of each job with ``handle()`` in its middle, composed when it is asked for
    first; None where there is none, so that such a job costs nothing but the question.

    A call gives the value, or a coroutine that gives it. A job whose ``handle()`` was not called is
    deleted, unless a middleware has asked for something else.
    """

    def __init__(self, finish: Finish) -> None:
        super().__init__()
        self._finish = finish

    def __missing__(self, definition: JobSpec) -> Next | None:
        step = self[definition] = self._first_step(definition)
        return step

    def around(self, definition: JobSpec, middleware: Sequence[Middleware]) -> Next:
        """``handle()`` with these around it, the first one outermost."""
        is_async = definition.is_async
        step = partial(_handle, definition)
        if definition.options.unique_until_start:
            step = partial(_free_and_handle_async if is_async else _free_and_handle, step)
        for each in reversed(middleware):
            wants_async = is_coroutine_function(each)
            if wants_async and not is_async:
                step = sync_to_async(partial(self._run, step), thread_sensitive=True)  # type: ignore[assignment]
            elif not wants_async:
                step = partial(self._run, step)
            step = partial(_pass, each, step)
            is_async = wants_async
        return partial(_enter_async if is_async else _enter, step)

    def _first_step(self, definition: JobSpec) -> Next | None:
        every = loaded(settings().middleware)
        if "middleware" not in definition.per_instance:
            fixed = (*every, *definition.options.middleware)
            needed = fixed or definition.options.unique_until_start
            return self.around(definition, fixed) if needed else None

        def step(job: CurrentJob) -> Any:
            own = definition.middleware(job.instance)
            return self.around(definition, [*every, *own])(job)

        return step

    def _run(self, step: Next, job: CurrentJob) -> Any:
        """The value of `step`, for a caller that cannot await it."""
        value = step(job)
        return self._finish(value) if asyncio.iscoroutine(value) else value


@lru_cache(maxsize=8)
def loaded(paths: tuple[str, ...]) -> tuple[Middleware, ...]:
    """What the setting names; of a class, an instance."""
    return tuple(map(_made, map(import_string, paths)))


def _made(found: Any) -> Middleware:
    if isinstance(found, type):
        found = found()
    middleware: Middleware = found
    return middleware


def is_coroutine_function(middleware: Middleware) -> bool:
    """Whether calling it gives a coroutine."""
    call = getattr(middleware, "__call__", None)  # noqa: B004 - of an instance, to look at
    return inspect.iscoroutinefunction(middleware) or inspect.iscoroutinefunction(call)


def _pass(middleware: Middleware, step: Next, job: CurrentJob) -> Any:
    return middleware(job, step)


def _handle(definition: JobSpec, job: CurrentJob) -> Any:
    job.is_begun = True
    return definition.call(job.instance)


def _free_and_handle(handle: Next, job: CurrentJob) -> Any:
    job.free_key()
    return handle(job)


async def _free_and_handle_async(handle: Next, job: CurrentJob) -> Any:
    await sync_to_async(job.free_key, thread_sensitive=True)()
    return await handle(job)


def _enter(step: Next, job: CurrentJob) -> Any:
    job.is_begun = False
    value = step(job)
    _skip(job)
    return value


async def _enter_async(step: Next, job: CurrentJob) -> Any:
    job.is_begun = False
    value = await step(job)
    _skip(job)
    return value


def _skip(job: CurrentJob) -> None:
    if not job.is_begun and job.requested is None:
        job.delete()
