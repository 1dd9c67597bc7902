"""The payload of a failed job with other arguments, for a retry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from djqueue.errors import InvalidPayload
from djqueue.jobs import registry
from djqueue.payload import payload
from djqueue.payload import store as payload_store
from djqueue.text.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.models import FailedJob

__all__ = ["Edited", "edited"]


class Edited(NamedTuple):
    """A payload, and what is different in it."""

    payload: str
    changes: Mapping[str, tuple[Any, Any]]
    """By the names of arguments: the JSON values before and now, with secrets masked."""


def edited(row: FailedJob, values: Mapping[str, Any]) -> Edited:
    """Return the payload of a failed job with other `values` for some arguments. What the code does
    not take any more is left out. Raises `UnknownJob`, `NotSerializable`, and `InvalidPayload` if
    the code does not take the arguments then.
    """
    spec = registry.find(row.name)
    before = payload_store.unpacked(payload.decode(row.payload)).arguments
    taken = spec.job_class._annotations()
    for name in values:
        if name not in taken:
            raise InvalidPayload(f'{spec.name} takes no argument "{name}".')
    now = {name: value for name, value in before.items() if name in taken}
    now |= {name: spec.encode_argument(name, value) for name, value in values.items()}
    spec.load(now)
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    shown = masked({name: [before.get(name), now.get(name)] for name in names})
    changes = {name: _pair(shown[name]) for name in names}
    return Edited(_with_arguments(row.payload, now), changes)


def _pair(shown: Any) -> tuple[Any, Any]:
    """Return the two values; the mask for both where the argument is a secret."""
    return (shown[0], shown[1]) if isinstance(shown, list) else (shown, shown)


def _with_arguments(text: str, arguments: Mapping[str, Any]) -> str:
    """Return a payload with other arguments, which stand last. They are not packed."""
    data = json.loads(text)
    for part in ("packed", "arguments"):
        data.pop(part, None)
    return json.dumps({**data, "arguments": arguments}, separators=(",", ":"))
