"""What a batch is given beside its members, checked, and as it is stored in its row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from djqueue.errors import InvalidJob
from djqueue.finish.failed_rows import storable
from djqueue.jobs.definition.options import checked_overrides
from djqueue.payload.backoff import Exponential, stored_backoff
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.models import JobBatch

LONGEST_NAME = 255
_DELAY, _AT = "delay", "at"


def checked_name(name: object) -> str:
    """Return the name of a batch. Raises `InvalidJob` for what is no name."""
    if not isinstance(name, str):
        raise InvalidJob(
            f"The name of a batch is a text; this one is {name!r:.50}. Leave it out for a batch"
            " without a name. Nothing was queued."
        )
    if len(name) > LONGEST_NAME:
        raise InvalidJob(
            f"The name of a batch has at most {LONGEST_NAME} characters; this one has"
            f" {len(name):,}. Shorten it, or keep the rest in options. Nothing was queued."
        )
    if storable(name) != name:
        raise InvalidJob(
            f"The name of a batch, {name!r:.50}, has a character that no database takes: NUL, or a"
            " half of a surrogate pair. Remove it. Nothing was queued."
        )
    return name


def checked_options(options: object) -> dict[str, Any]:
    """Return the options of a batch. Raises `InvalidJob` where they are not JSON."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidJob(
            f"The options of a batch are a mapping; {options!r:.50} is none. Pass a dict of JSON"
            " values. Nothing was queued."
        )
    given = dict(options)
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(
            f"The options of a batch are stored as JSON, and these cannot be: {error}. Pass texts,"
            " finite numbers, booleans, None, lists and dicts of them. Nothing was queued."
        ) from error
    return given


def stored_using(using: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``using()`` was given as JSON, for members that are added later."""
    return {name: _stored(value) for name, value in using.items()}


def _stored(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return {_AT: value.timestamp()}
    return vars(value) if isinstance(value, Exponential) else value


def using_of(batch: JobBatch) -> Mapping[str, Any]:
    """Return what ``using()`` of a stored batch was given."""
    found = batch.wishes().get("using")
    if not isinstance(found, dict):
        return {}
    if isinstance(at := found.get(_DELAY), dict):
        found[_DELAY] = datetime.fromtimestamp(at[_AT], timezone.utc)
    if "backoff" in found:
        found["backoff"] = stored_backoff(found["backoff"])
    return checked_overrides(found, "batch().using()")


def reason_of(error: BaseException) -> str:
    """Return why an error has ended the dispatch of a batch, as every database takes it."""
    try:
        text = one_line(error) or type(error).__name__
    except Exception as broken:  # noqa: BLE001 - the text of a user's exception may do anything
        text = f"{type(error).__name__}, whose text raises {type(broken).__name__}"
    return storable(f"its dispatch broke off: {text}")
