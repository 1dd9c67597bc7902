"""Declaring a job class: it becomes a dataclass with options and a name. What cannot work is
refused with the spelling that does.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps

from djqueue.errors import InvalidJob
from djqueue.jobs import registry
from djqueue.jobs.definition.options import OPTIONS, Options, checked
from djqueue.jobs.definition.spec import JobInstance, JobSpec
from djqueue.jobs.definition.uniqueness import refuse_contradictions
from djqueue.jobs.inject import injected, markers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PLAIN_METHODS", "declare", "read_again", "refuse_generator", "stored_name"]

OPTION_METHODS = frozenset({"backoff", "middleware", "retry_until", "tags"})
"""Options that a method of the same name may compute for each instance."""

PLAIN_METHODS = frozenset({*OPTION_METHODS, "display_name", "unique_id"})
"""Methods that compute a value for each instance: they may be neither async nor generators."""

RESERVED_OPTIONS = frozenset(
    {"queue", "connection", "tries", "timeout", "backoff", "delay", "priority"}
)
RESERVED_METHODS = frozenset(
    {
        *("handle", "failed", "using", "dispatch", "adispatch", "dispatch_sync", "bind", "job"),
        *("backoff", "retry_until", "middleware", "unique_id", "tags", "display_name"),
    }
)


def declare(cls: type[JobInstance], root: type[JobInstance], keywords: Mapping[str, Any]) -> None:
    """Make a job of `cls`, a new subclass of `root` (`Job`). Raises `InvalidJob`."""
    where = f"{'@job' if '_function' in cls.__dict__ else 'class'} {cls.__qualname__}"
    own = checked(keywords, where)
    annotated = _annotated(cls)
    _refuse_fields(cls, root, annotated, where)
    _refuse_body(cls, annotated, where)
    _make_dataclass(cls, where)
    if "handle" in cls.__dict__:
        _prepare_handle(cls, where)
    cls._own_options = own
    options = Options(**{**_inherited(cls), **own})
    cls._spec = None
    if not _is_abstract(cls):
        cls._spec = _make_spec(cls, root, options, where)
        registry.register(cls._spec)


def read_again(job_class: type[JobInstance]) -> None:
    """Let the annotations of a job be read once more: what they name has changed."""
    if job_class._spec is not None:
        vars(job_class._spec).pop("_codecs", None)


def _refuse_fields(
    cls: type[JobInstance], root: type[JobInstance], names: set[str], where: str
) -> None:
    for name in names:
        if name in RESERVED_OPTIONS:
            raise InvalidJob(
                f"{where}: a field cannot be called {name!r}. If the option is meant, it is a "
                f"class keyword: class {cls.__name__}(Job, {name}=…). For an argument take "
                f"another name, as job_{name}."
            )
        if name in RESERVED_METHODS or name in dir(root):
            raise InvalidJob(
                f"{where}: a field cannot be called {name!r}, a name that Job reserves. "
                f"Take another name, as job_{name.lstrip('_')}."
            )


def _refuse_body(cls: type[JobInstance], annotated: set[str], where: str) -> None:
    for name, value in cls.__dict__.items():
        method = inspect.isfunction(value)
        if method and name in PLAIN_METHODS:
            _refuse_async(value, f"{where}: {name}()")
        if name not in OPTIONS or name in annotated or (method and name in OPTION_METHODS):
            continue
        shown = "…" if method else repr(value)
        raise InvalidJob(
            f"{where}: {name!r} in the body would be ignored. Options are class keywords: "
            f"class {cls.__name__}(Job, {name}={shown})."
        )
    if inspect.isfunction(cls.__dict__.get("__init__")):
        raise InvalidJob(
            f"{where}: a job's fields are its arguments, and __init__ is generated from them. "
            "Declare fields (order: Order), and move other code to __post_init__."
        )


def _refuse_async(function: Callable[..., Any], where: str) -> None:
    if inspect.iscoroutinefunction(function):
        raise InvalidJob(f"{where} is async, and nothing would await it. Use def.")
    refuse_generator(function, where)


def _annotated(cls: type[JobInstance]) -> set[str]:
    """Return the names annotated in the body, without class variables."""
    found: Mapping[str, Any]
    if sys.version_info >= (3, 14):
        import annotationlib

        # As text: the names in an annotation may not be defined yet.
        found = annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    else:
        found = inspect.get_annotations(cls)
    return {name for name, annotation in found.items() if "ClassVar" not in str(annotation)}


def _make_dataclass(cls: type[JobInstance], where: str) -> None:
    own_hash = cls.__dict__.get("__hash__")
    try:
        dataclasses.dataclass(repr=False)(cls)
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"{where}: {_remedy(str(error))}") from error
    if own_hash is None:
        # Equal jobs are still two jobs, and a set keeps both. Dataclasses with __eq__ have no hash.
        cls.__hash__ = object.__hash__  # type: ignore[method-assign]
    fields = dataclasses.fields(cast("Any", cls))  # a dataclass by now
    extra = set(inspect.signature(cls).parameters) - {field.name for field in fields}
    if extra:
        raise InvalidJob(
            f"{where}: {', '.join(sorted(extra))} is an InitVar, which is not stored with the job. "
            "Make it a field."
        )


def _remedy(error: str) -> str:
    if "mutable default" in error:
        kind = "dict" if "'dict'" in error else "set" if "'set'" in error else "list"
        return (
            f"{error.partition(' is not allowed')[0]} would be shared by every job. "
            f"Use field(default_factory={kind})."
        )
    if "non-default argument" in error:
        return (
            f"{error}. Give it a default too, move it up, or make it keyword-only: "
            "field(kw_only=True)."
        )
    return error


def _prepare_handle(cls: type[JobInstance], where: str) -> None:
    handle = cls.__dict__["handle"]
    if not inspect.isfunction(handle):
        raise InvalidJob(f"{where}: handle has to be a method: def handle(self).")
    refuse_generator(handle, f"{where}: handle()")
    found = markers(handle)
    for parameter in list(inspect.signature(handle).parameters.values())[1:]:
        optional = parameter.default is not parameter.empty
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not optional and not variadic:
            raise InvalidJob(
                f"{where}: handle() is called without arguments, so nothing would fill "
                f"{parameter.name!r}. Make it a field of the class, or give it a default: "
                f"{parameter.name}=Inject(…)."
            )
    if found:
        cls.handle = injected(handle)  # type: ignore[method-assign]


def refuse_generator(function: Callable[..., Any], where: str) -> None:
    """Raise `InvalidJob` for a generator function: calling it would not run its body."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidJob(f"{where} contains yield, so calling it would not run it. Use return.")


def _inherited(cls: type[JobInstance]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        options.update(base.__dict__.get("_own_options", {}))
    # Two jobs with one name could not be distinguished in a queue.
    options.pop("name", None)
    options.pop("aliases", None)
    return options


def _is_abstract(cls: type[JobInstance]) -> bool:
    handle = getattr(cls, "handle", None)
    return handle is None or getattr(handle, "__isabstractmethod__", False)


def _make_spec(
    cls: type[JobInstance], root: type[JobInstance], options: Options, where: str
) -> JobSpec:
    name = options.name or stored_name(cls.__module__, cls.__name__, where)
    per_instance = frozenset(
        method for method in PLAIN_METHODS if getattr(cls, method) is not getattr(root, method)
    )
    spec = JobSpec(name, cls, options, per_instance)
    if options.atomic and spec.is_async:
        raise InvalidJob(
            f"{where}: atomic={options.atomic!r} cannot work with async def handle(): Django's "
            "transactions are synchronous. Use def handle(), or drop atomic."
        )
    refuse_contradictions(options, where, has_id="unique_id" in cls.__dict__)
    return spec


def stored_name(module: str, name: str, where: str) -> str:
    """Return ``app_label.Name`` for a job called `name` in `module`.

    Raises `InvalidJob`, with a message that begins with `where`, for a module outside the installed
    apps, and `AppRegistryNotReady`, as a model does, before the apps are loaded.
    """
    config = apps.get_containing_app_config(module)
    if config is None:
        raise InvalidJob(
            f'{where}: its module "{module}" belongs to no app in INSTALLED_APPS, so queued jobs '
            f'would have no stable name. Add one: name="project.{name}".'
        )
    return f"{config.label}.{name}"
