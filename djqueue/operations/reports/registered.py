"""The jobs that the running code knows."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.dispatch.route import plan_of
from djqueue.errors import QueueError
from djqueue.jobs import registry

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["RegisteredJob", "registered_jobs"]


class RegisteredJob(NamedTuple):
    """A job, and where it would go."""

    name: str
    connection: str
    queue: str
    arguments: str
    """As in ``order: Order, copies: int = …``."""
    place: str
    """The file, as seen from the current folder, and the line of its code."""


def registered_jobs() -> list[RegisteredJob]:
    """Return all jobs, sorted by name."""
    return list(map(_described, registry.all()))


def _described(spec: JobSpec) -> RegisteredJob:
    try:
        plan = plan_of(spec, {})
        connection, queue = plan.connection, plan.queue
    except QueueError:  # its connection is not in the settings
        connection, queue = spec.options.connection or "?", spec.options.queue or "?"
    return RegisteredJob(spec.name, connection, queue, _arguments(spec), _place(spec))


def _arguments(spec: JobSpec) -> str:
    required = spec.job_class._required()
    return ", ".join(
        f"{name}: {_written(annotation)}{'' if name in required else ' = …'}"
        for name, annotation in spec.job_class._annotations().items()
    )


def _written(annotation: Any) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("NoneType", "None")


def _place(spec: JobSpec) -> str:
    code = getattr(spec.job_class, "_function", spec.job_class)
    file = registry.origin(spec).file
    try:
        line = inspect.getsourcelines(code)[1]
    except (OSError, TypeError):
        return file
    path = Path(file)
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{here}:{line}"
