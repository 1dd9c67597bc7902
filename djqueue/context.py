"""What travels with jobs: who asked for them, in which request, in which language.

    from djqueue import context

    with context.scope(campaign="spring"):
        SendReceipt(order).dispatch()           # context.get("campaign") in its handle()

A running job has the context of its dispatch, and passes it on to the jobs that it dispatches. The
active language and time zone travel with it. Values are those of JSON: None, bool, int, float, str,
and lists and dicts of them; at most 8 KiB in all. Hidden ones are encrypted wherever they are
stored, and are neither shown nor logged.
"""

from __future__ import annotations

import contextvars
import datetime
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

from django.conf import settings
from django.utils import timezone, translation

from djqueue.compat import may_have_language, may_have_time_zone
from djqueue.errors import InvalidContext, InvalidPayload
from djqueue.payload.encryption import (
    CONTEXT,
    ENCRYPTED_CONTEXT,
    HIDDEN,
    TRACE,
    decrypt,
    encrypt,
)
from djqueue.payload.keyring import keyring
from djqueue.payload.payload import encode_more
from djqueue.runner.current import current_job
from djqueue.tracing.tracing import tracing

__all__ = ["JobFilter", "add", "get", "scope", "values"]

LARGEST = 8 * 1024
"""Bytes of JSON that a context may have, hidden values included."""
MOST_LEVELS = 32
"""The deepest nesting of lists and dicts in a value: a payload may have no more than 200."""

logger = logging.getLogger("djqueue")

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class _Context:
    """The values in scope."""

    shown: Mapping[str, Any] = field(default_factory=dict)
    hidden: Mapping[str, Any] = field(default_factory=dict, repr=False)
    late: Mapping[str, Callable[[], Any]] = field(default_factory=dict, repr=False)
    """Functions for values that are looked up when they are used; None: there is no such value."""

    def with_values(self, shown: Mapping[str, Any], hidden: Mapping[str, Any]) -> _Context:
        """Return this context with more values. Raises `InvalidContext`."""
        shown, hidden = _as_json(shown, hidden=False), _as_json(hidden, hidden=True)
        kept = {key: value for key, value in self.hidden.items() if key not in shown}
        seen = {key: value for key, value in self.shown.items() if key not in hidden}
        new = replace(self, shown={**seen, **shown}, hidden={**kept, **hidden})
        size = len(_json(new.shown)) + len(_json(new.hidden))
        if size > LARGEST:
            raise InvalidContext(
                f"The context would have {size:,} bytes of JSON; {LARGEST:,} are allowed, since it"
                " travels with every job. Save what is large, and add its key."
            )
        return new

    def everything(self) -> dict[str, Any]:
        """Return all values but the hidden ones, looking up those that are `late`."""
        found = {
            key: value
            for key, look in self.late.items()
            if key not in self.shown and key not in self.hidden and (value := look()) is not None
        }
        return {**found, **self.shown}


_EMPTY = _Context()
_current: ContextVar[_Context] = ContextVar("djqueue_context", default=_EMPTY)


def add(key: str, value: Any, *, hidden: bool = False) -> None:
    """Put `value` into the context, until the scope, the request or the job around this ends.

    Raises `InvalidContext` for a value that JSON does not have, and above 8 KiB.
    """
    shown, secret = ({}, {key: value}) if hidden else ({key: value}, {})
    _current.set(_current.get().with_values(shown, secret))


def get(key: str, default: Any = None) -> Any:
    """Return the value of `key`, hidden or not; `default` where there is none."""
    own = _current.get()
    for known in (own.hidden, own.shown):
        if key in known:
            return known[key]
    value = own.late[key]() if key in own.late else None
    return default if value is None else value


def values() -> dict[str, Any]:
    """Return all values of the context but the hidden ones."""
    return _current.get().everything()


@contextmanager
def scope(*, hidden: Mapping[str, Any] | None = None, **shown: Any) -> Iterator[None]:
    """Put values into the context for the length of a ``with`` block, also around ``await``.

    Raises `InvalidContext` for a value that JSON does not have, and above 8 KiB.
    """
    token = _current.set(_current.get().with_values(shown, hidden or {}))
    try:
        yield
    finally:
        _current.reset(token)


class JobFilter(logging.Filter):
    """Adds ``job_id job_name attempt batch`` of the running job to each record, and ``context``,
    the values that are not hidden. Outside a job the former are empty. An attribute that a record
    has already is left as it is.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them. Every record passes."""
        job = current_job(None)
        own = vars(record)
        own.setdefault("job_id", job.id if job else "")
        own.setdefault("job_name", job.name if job else "")
        own.setdefault("attempt", job.attempt if job else 0)
        own.setdefault("batch", job.batch_id if job else "")
        own.setdefault("context", dict(_current.get().shown))
        return True


# -- travelling ------------------------------------------------------------------------------------


def stored() -> str:
    """Return the part of a payload that keeps the present context, for `more` of
    `djqueue.payload.payload.encode`; an empty text if there is nothing to keep.
    """
    own = _current.get()
    has_language, has_time_zone = may_have_language(), may_have_time_zone()
    tracer = tracing.tracer
    if own is _EMPTY and tracer is None and not (has_language or has_time_zone):
        return ""
    kept = {
        "values": own.everything(),
        "hidden": encrypt(_json(own.hidden), kind=HIDDEN) if own.hidden else None,
        "language": _language() if has_language else None,
        "time_zone": _time_zone() if has_time_zone else None,
        TRACE: None if tracer is None else tracer.headers(),
    }
    return encode_more(context={key: value for key, value in kept.items() if value})


def enter(kept: Mapping[str, Any]) -> None:
    """Make the context of a payload the present one, for what runs in this `contextvars` context.

    Raises `Undecryptable` where its hidden values cannot be read; the others are there then. Of an
    encrypted job all values but ``user_id`` are hidden, and stay so in the jobs that it dispatches;
    the running job is the one that they have to belong to.
    """
    hides = ENCRYPTED_CONTEXT in kept
    if hides:
        job = current_job(None)
        if job is None or not job.is_encrypted:
            raise InvalidPayload(
                "The payload's context is encrypted, and its options do not say so: it was altered"
                " in its store, and nothing of it is decrypted."
            )
        name = job.name
        kept = json.loads(decrypt(str(kept[ENCRYPTED_CONTEXT]), kind=CONTEXT, job=name))
    shown = kept.get("values")
    own = _Context(shown) if isinstance(shown, dict) else _EMPTY
    if hides:
        own = _Context(_pick(own.shown, user=True), hidden=_pick(own.shown, user=False))
    _current.set(own)
    _activate(kept.get("language"), kept.get("time_zone"))
    if token := kept.get("hidden"):
        _current.set(replace(own, hidden={**own.hidden, **_decrypted(str(token))}))


def without(work: Callable[[], T]) -> T:
    """Call `work` with an empty context, in the project's language and time zone, as in a worker's
    process, and return what it returns. What it changes of them ends with it.
    """

    def emptied() -> T:
        enter(_NOTHING)
        return work()

    return contextvars.copy_context().run(emptied)


@contextmanager
def request_scope(
    shown: Mapping[str, Any], late: Mapping[str, Callable[[], Any]] = _NOTHING
) -> Iterator[None]:
    """Begin the context of a request with the values `shown`, and with those that the functions in
    `late` return when they are used. What the request adds with `add` ends with it.
    """
    token = _current.set(_Context(shown, late=late))
    try:
        yield
    finally:
        _current.reset(token)


def _language() -> str | None:
    language = translation.get_language()
    return None if language == settings.LANGUAGE_CODE else language


def _time_zone() -> str | int | None:
    """Return the key of the active time zone, or the minutes of one with a fixed offset."""
    zone: Any = timezone.get_current_timezone()
    if zone == timezone.get_default_timezone():
        return None
    if zone is datetime.timezone.utc:
        return "UTC"
    if isinstance(zone, datetime.timezone):
        return int(zone.utcoffset(None).total_seconds() // 60)
    key: str | None = getattr(zone, "key", None)
    return key


def _activate(language: Any, zone: Any) -> None:
    if isinstance(language, str) and translation.check_for_language(language):
        translation.activate(language)
    elif may_have_language():
        translation.deactivate()
    try:
        if isinstance(zone, str):
            timezone.activate(zone)
        elif isinstance(zone, int):
            timezone.activate(timezone.get_fixed_timezone(zone))
        elif may_have_time_zone():
            timezone.deactivate()
    except (ValueError, OSError, KeyError, OverflowError):
        logger.warning("Time zone %.80r of a job is not known here; the default is used.", zone)


def _pick(shown: Mapping[str, Any], *, user: bool) -> dict[str, Any]:
    """Return the value that says whose a result is, or all others."""
    return {key: value for key, value in shown.items() if (key == "user_id") is user}


def _decrypted(token: str) -> Mapping[str, Any]:
    hidden: Mapping[str, Any] = json.loads(decrypt(token, kind=HIDDEN))
    return hidden


# -- values ----------------------------------------------------------------------------------------


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _as_json(values: Mapping[str, Any], *, hidden: bool) -> dict[str, Any]:
    """Return a copy of `values` as JSON has them. Raises `InvalidContext`."""
    if not values:
        return {}
    if hidden:
        keyring()  # raises where it cannot be made, before anything has to be encrypted
    for key, value in values.items():
        if not isinstance(key, str):
            raise InvalidContext(f"The context cannot have the key {key!r:.100}: it is not a str.")
        if wrong := _wrong(value, MOST_LEVELS):
            raise InvalidContext(
                f"The context's {key:.100} cannot be that value: {wrong}. Values are those of JSON:"
                " None, bool, int, float, str, list and dict. Pass a model's pk, and str() of other"
                " objects."
            )
    copied: dict[str, Any] = json.loads(_json(values))
    return copied


def _wrong(value: Any, levels: int) -> str:
    """Return what JSON does not have in `value`; an empty text if there is nothing."""
    if isinstance(value, (list, dict)):
        if not levels:
            return f"it is nested more than {MOST_LEVELS} levels deep"
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            return "a key of a dict is not a str"
        inner = value.values() if isinstance(value, dict) else value
        return next(filter(None, (_wrong(each, levels - 1) for each in inner)), "")
    if isinstance(value, float) and value - value != 0:
        return "JSON has neither nan nor infinity"
    if not isinstance(value, (str, int, float, type(None))):
        return f"it holds an object of type {type(value).__name__}"
    return ""
