"""The options of a job: class keywords, arguments of ``@job``, and some of them of ``using()``.

Unknown options and impossible values are refused where they are written, with the spelling that
works.
"""

# ruff: noqa: RUF009 - what `_option` returns is a field of the dataclass

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, Union

from djqueue.conf.kinds import (
    DURATION,
    FLAG,
    LONGEST,
    SECONDS,
    TEXT,
    TEXTS,
    Kind,
    Option,
    unknown,
    whole,
)
from djqueue.errors import AttemptError, InvalidJob, JobTimeout, QueueError
from djqueue.jobs.definition.durations import When, check_when
from djqueue.payload.backoff import Backoff, Exponential
from djqueue.payload.payload import Limits
from djqueue.payload.queue_names import check_queue_name

if TYPE_CHECKING:
    from djqueue.runner.current import CurrentJob

__all__ = [
    "OPTIONS",
    "OVERRIDES",
    "OptionKeywords",
    "Options",
    "Overrides",
    "checked",
    "checked_overrides",
]

Middleware = Callable[["CurrentJob", Callable[["CurrentJob"], Any]], Any]
"""Called with the running job and with what comes next; see `djqueue.middleware`."""

ExceptionTypes = Union[type[BaseException], "Sequence[type[BaseException]]"]

PerJob = Union[str, "Callable[[Any], str]"]
"""A text, or a function of the job that returns one."""


class Overrides(TypedDict, total=False):
    """The options that ``using()`` takes."""

    connection: str | None
    queue: str | None
    delay: When | None
    priority: int | None
    tries: int | None
    backoff: float | Sequence[float] | Exponential | None
    timeout: float | None
    after_commit: bool | None
    tags: Sequence[str] | None


class OptionKeywords(Overrides, total=False):
    """The options that a job class takes as keywords, and ``@job`` as arguments."""

    max_exceptions: int | None
    max_interruptions: int | None
    jitter: bool | None
    retry_on: ExceptionTypes | None
    fail_on: ExceptionTypes | None
    middleware: Sequence[Middleware] | None
    fail_on_timeout: bool | None
    retry_until: When | None
    delete_when_missing: bool | None
    name: str | None
    aliases: Sequence[str] | None
    atomic: bool | str | None
    store_result: bool | None
    message_group: PerJob | None
    deduplication_id: PerJob | None
    unique: bool | None
    unique_for: float | None
    unique_until_start: bool | None
    debounce: float | None
    max_wait: float | None
    encrypted: bool | None


# -- kinds -----------------------------------------------------------------------------------------


def _made_by(words: str, convert: Callable[[Any], Any]) -> Kind:
    """Return the kind of what `convert` takes; its `ValueError` says what it expects instead."""

    def explain(value: Any) -> str | None:
        try:
            convert(value)
        except ValueError as error:
            return str(error)
        return None

    return Kind(words, lambda value: explain(value) is None, explain, convert)


def _backoff(value: Any) -> Backoff:
    if isinstance(value, Exponential):
        return value
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(map(SECONDS.accepts, values)):
        raise ValueError(_BACKOFF)
    return tuple(values)


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    found = (value,) if isinstance(value, type) else value
    if not isinstance(found, (list, tuple, set, frozenset)) or not found:
        raise ValueError("a class of exceptions, or several: (ConnectionError, TimeoutError)")
    for each in found:
        if not isinstance(each, type) or not issubclass(each, BaseException):
            raise ValueError(f"classes of exceptions, and {each!r} is none")
        if issubclass(each, (AttemptError, JobTimeout)):
            raise ValueError(
                f"classes that handle() raises, and {each.__name__} is raised for it: timeouts have"
                " fail_on_timeout, deaths and interruptions tries and max_interruptions"
            )
    return tuple(found)


def _middleware(value: Any) -> tuple[Middleware, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list of callables, which take the job and what comes next")
    for each in value:
        if isinstance(each, type):
            raise ValueError(f"a list of callables: {each.__name__}(…), not the class alone")
        if not callable(each):
            raise ValueError(f"a list of callables, and {each!r} cannot be called")
    return tuple(value)


def _queue(value: Any) -> str:
    try:
        # Whether a {tag} is allowed depends on the connection, which is not known yet.
        return check_queue_name(value, tagged=True)
    except QueueError:
        raise ValueError("letters, digits and _ . - only, at most 80") from None


_BACKOFF = "a number of seconds, 0 or more, a list of them: [10, 60, 600], or exponential()"
_COUNT = whole(0, LONGEST)
_WHEN = _made_by("seconds, a timedelta or an aware datetime", check_when)
_EXCEPTIONS = _made_by("classes of exceptions", _exceptions)
_QUEUE = _made_by("letters, digits and _ . - only, at most 80", _queue)
_MIDDLEWARE = _made_by("a list of callables", _middleware)
_ATOMIC = Kind(
    "True, False or the alias of a database", lambda v: FLAG.accepts(v) or TEXT.accepts(v)
)
_NAMES = replace(
    TEXTS, accepts=lambda v: TEXTS.accepts(list(v) if isinstance(v, (set, frozenset)) else v)
)
_PER_JOB = Kind(
    "a text, or a function of the job that returns one", lambda v: callable(v) or TEXT.accepts(v)
)


# -- the options -----------------------------------------------------------------------------------


def _option(kind: Kind, default: object = None) -> Any:
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True)
class Options:
    """The options of one job, checked. None: the settings or the worker decide."""

    connection: str | None = _option(TEXT)
    queue: str | None = _option(_QUEUE)
    delay: When | None = _option(_WHEN)
    priority: int = _option(whole(-100, 100), 0)
    tries: int | None = _option(_COUNT)
    """0 means no limit."""
    max_exceptions: int | None = _option(_COUNT)
    max_interruptions: int = _option(_COUNT, 3)
    backoff: Backoff | None = _option(_made_by(_BACKOFF, _backoff))
    """Seconds before the second, third, … attempt; the last one repeats."""
    jitter: bool = _option(FLAG, False)
    """Whether a delay is between a half and the whole of what `backoff` says, at random."""
    retry_on: tuple[type[BaseException], ...] | None = _option(_EXCEPTIONS)
    """Classes of exceptions; the job is given up for any other that it raises."""
    fail_on: tuple[type[BaseException], ...] = _option(_EXCEPTIONS, ())
    """Classes of exceptions for which the job is given up; they go before `retry_on`."""
    middleware: tuple[Middleware, ...] = _option(_MIDDLEWARE, ())
    timeout: float | None = _option(SECONDS)
    """Seconds; 0 means no limit."""
    fail_on_timeout: bool = _option(FLAG, False)
    retry_until: When | None = _option(_WHEN)
    after_commit: bool | None = _option(FLAG)
    delete_when_missing: bool = _option(FLAG, False)
    tags: tuple[str, ...] = _option(_NAMES, ())
    name: str | None = _option(TEXT)
    aliases: tuple[str, ...] = _option(_NAMES, ())
    atomic: bool | str = _option(_ATOMIC, False)
    """A database alias, or True for the connection's database."""
    store_result: bool = _option(FLAG, False)
    """Whether status, progress, value and error are kept for code that has its id."""
    message_group: PerJob | None = _option(_PER_JOB)
    deduplication_id: PerJob | None = _option(_PER_JOB)
    unique: bool = _option(FLAG, False)
    """Whether there is one job with the same key at a time."""
    unique_for: float | None = _option(DURATION)
    """Seconds after which another dispatch takes the key; None: never."""
    unique_until_start: bool = _option(FLAG, False)
    """Whether the key is free as soon as ``handle()`` begins."""
    debounce: float | None = _option(DURATION)
    """Seconds for which the job waits for another dispatch that replaces it."""
    max_wait: float | None = _option(DURATION)
    """Seconds after the first of such dispatches by which the job runs; None: no limit."""
    encrypted: bool = _option(FLAG, False)
    """Whether arguments, context, results and errors are encrypted wherever they are stored."""

    def limits(self) -> Limits:
        """Return the options that are stored in the payload."""
        return Limits(**{name: getattr(self, name) for name in _LIMITS})


_LIMITS = tuple(one.name for one in fields(Limits))

OPTIONS: Mapping[str, Option] = {
    one.name: Option(one.default, one.metadata["kind"]) for one in fields(Options)
}
"""All options."""

OVERRIDES = frozenset(Overrides.__annotations__)
"""The options that ``using()`` takes."""

_ELSEWHERE = {
    "bind": "current_job() gives the job that runs, and self.job in a class.",
    "max_retries": "Use tries, which counts the first attempt too.",
    "countdown": "Use delay.",
    "eta": "Use delay, which takes a datetime too.",
    "expires": "Use retry_until.",
    "time_limit": "Use timeout.",
    "soft_time_limit": "Use timeout.",
    "default_retry_delay": "Use backoff.",
}
"""Options of other queues, and what to use here."""


# -- checking them ---------------------------------------------------------------------------------


def checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `given` as `Options` holds it. Raises `InvalidJob`, with `where` in its message."""
    return {name: _check(name, value, where, OPTIONS) for name, value in given.items()}


def checked_overrides(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Do as `checked` for the options of ``using()``."""
    return {name: _check(name, value, where, OVERRIDES) for name, value in given.items()}


def _check(name: str, value: Any, where: str, known: Collection[str]) -> Any:
    if name not in known:
        if name in OPTIONS:
            raise InvalidJob(
                f"{where}: {name} cannot be set for one dispatch, only for the job. "
                f"using() takes: {', '.join(sorted(known))}."
            )
        raise InvalidJob(str(unknown(where, name, known, _ELSEWHERE, "option")))
    option = OPTIONS[name]
    if value is None:
        return option.default
    if wrong := option.mistake(f"{where}: {name}", value):
        raise InvalidJob(str(wrong))
    return option.kind.keep(value)
