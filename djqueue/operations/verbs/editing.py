"""The payload of a failed job with other arguments, for a retry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from djqueue.errors import InvalidPayload, PayloadError, QueueUnavailable
from djqueue.jobs import registry
from djqueue.operations import failed_jobs
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.payload.links import links_of, may_be_linked, with_links
from djqueue.text.masking import MASK, masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.jobs.definition.spec import JobInstance, JobSpec
    from djqueue.models import FailedJob

__all__ = ["Edited", "Stored", "edited", "stored", "with_stored"]


class Stored(NamedTuple):
    """The arguments of a failed job, and the code that takes them."""

    spec: JobSpec
    annotations: Mapping[str, Any]
    """Of all that the code takes, in its order."""
    arguments: Mapping[str, Any]
    """The JSON values in the payload, also those that the code does not take any more."""


class Edited(NamedTuple):
    """A payload, and what is different in it."""

    payload: str
    changes: Mapping[str, tuple[Any, Any]]
    """By the names of arguments: the JSON values before and now, with secrets masked."""


def stored(row: FailedJob, at_most: int | None = None) -> Stored:
    """Return the arguments of a failed job. Raises `UnknownJob`, and `InvalidPayload` where they
    cannot be read, are encrypted, or are longer than `at_most` bytes.
    """
    spec = registry.find(row.name)
    if payload.limits_of(row.payload).encrypted:
        raise InvalidPayload(
            "Its arguments are encrypted, so they are neither shown nor edited. Retry it as it is, "
            "or dispatch another job."
        )
    read = payload_store.unpacked(payload.decode(row.payload), at_most)
    return Stored(spec, spec.job_class._annotations(), read.arguments)


def edited(row: FailedJob, values: Mapping[str, Any]) -> Edited:
    """Return the payload of a failed job with other `values` for some arguments. What the code does
    not take any more is left out. Raises `UnknownJob`, `NotSerializable`, and `InvalidPayload` if
    the code does not take the arguments then.
    """
    before = stored(row)
    for name in values:
        if name not in before.annotations:
            raise InvalidPayload(f'{before.spec.name} takes no argument "{name}".')
    encoded = {name: before.spec.encode_argument(name, value) for name, value in values.items()}
    return with_stored(row, before, encoded)


def with_stored(row: FailedJob, read: Stored, values: Mapping[str, Any]) -> Edited:
    """Do as `edited` for JSON values as payloads have them, and arguments that `stored` has
    read.
    """
    before = read.arguments
    for name, value in values.items():
        _refuse_mask(name, before.get(name), value)
    now = {name: value for name, value in before.items() if name in read.annotations}
    now |= values
    job = read.spec.load(now)
    names = [name for name in {**before, **now} if _differ(before, now, name)]
    shown = masked({name: [before.get(name), now.get(name)] for name in names})
    changes = {name: _pair(shown[name]) for name in names}
    return Edited(_of_instance(_with_arguments(row.payload, now), read.spec, job), changes)


def _refuse_mask(name: str, before: Any, now: Any) -> None:
    """Refuse what was copied from a place that masks secrets: the mask would be the value."""
    had, has = json.dumps(before).count(MASK), json.dumps(now).count(MASK)
    hides = masked({name: before}) != {name: before}
    if has > had and (hides or not had):
        raise InvalidPayload(
            f'The new value of "{name}" has {MASK} in it, which stands for a secret where values '
            "are shown. Write the secret itself."
        )


def _differ(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> bool:
    """Return whether an argument is another one now; 1, 1.0 and True are three values."""
    if (name in before) != (name in now):
        return True
    return json.dumps(before[name]) != json.dumps(now[name])


def _pair(shown: Any) -> tuple[Any, Any]:
    """Return the two values; the mask for both where the argument is a secret."""
    return (shown[0], shown[1]) if isinstance(shown, list) else (shown, shown)


def _with_arguments(text: str, arguments: Mapping[str, Any]) -> str:
    """Return a payload with other arguments, which stand last. They are not packed."""
    data = json.loads(text)
    for part in ("packed", "arguments"):
        data.pop(part, None)
    return json.dumps({**data, "arguments": arguments}, separators=(",", ":"))


def _of_instance(text: str, spec: JobSpec, job: JobInstance) -> str:
    """Return a payload with the tags, the display name and the unique key that a dispatch of `job`
    would give it. Raises `InvalidPayload` where a function of the project fails for it.
    """
    try:
        # A savepoint: a query that fails in there must not break an open transaction for the rest.
        with transaction.atomic(using=failed_jobs.store()):
            tags, shown = spec.tags(job, ()), spec.display_name(job)
            key = spec.unique_key(job) if spec.options.unique else ""
    except (PayloadError, QueueUnavailable):
        raise
    except Exception as error:
        raise InvalidPayload(
            f"{spec.name} raised {type(error).__name__} for these arguments where a dispatch asks "
            "it for tags, a display name or a unique id. Nothing was changed."
        ) from error
    data = json.loads(text)
    arguments = data.pop("arguments")
    parts = {"tags": tags, "display_name": shown}
    for name, value in parts.items():
        if name in spec.per_instance:
            data.pop(name, None)
            data |= {name: value} if value else {}
    text = json.dumps({**data, "arguments": arguments}, separators=(",", ":"))
    if key and may_be_linked(text) and (links := links_of(text)).unique:
        return with_links(text, links._replace(unique=key))
    return text
