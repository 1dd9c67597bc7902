"""One job as an operator reads it: where it stands, its arguments, and what went wrong.

Arguments whose name says that they are secret are masked. That is a courtesy to whoever looks over
a shoulder, not a protection: ``encrypted=True`` is.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from djqueue import history, payload
from djqueue.bus import failed, selecting
from djqueue.errors import InvalidPayload, JobNotFound, QueueUnavailable, Unsupported
from djqueue.packing import TooLong
from djqueue.payload_store import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.bus.selecting import Located
    from djqueue.models import FailedJob

__all__ = ["MASK", "MOST_SHOWN", "masked", "readable", "show"]

SECRET = ("password", "passwd", "token", "secret", "authorization", "api_key", "apikey")
"""Parts of names, in lower case, that make a value a secret."""

MASK = "********"

MOST_SHOWN = 1 << 20
"""Bytes of packed arguments that are unpacked for a reader."""


def show(text: str, connection: str | None = None) -> dict[str, Any]:
    """All about the job whose id is `text`, or begins or ends like it; `JobNotFound` if none is.

    A stored job has the keys ``id name queue connection state attempts available_at reserved_at
    created_at priority interruptions worker``, a failed one ``id row name queue connection state
    attempts exception_class exception_message failed_at exception history``. Both have
    ``sent options tags arguments`` and, where the payload or its arguments cannot be read,
    ``damaged``.
    """
    try:
        return _stored(selecting.locate(text, connection))
    except JobNotFound as error:
        missing = error
    try:
        return _failed(failed.find(text))
    except Unsupported:
        raise missing from None
    except JobNotFound as error:
        # The one that knows candidates, or connections that were silent, has more to say.
        raise max(missing, error, key=lambda each: len(str(each))) from None


def _stored(found: Located) -> dict[str, Any]:
    job = found.job
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue,
        "connection": found.connection,
        "state": str(job.state),
        "attempts": job.attempts,
        "available_at": job.available_at,
        "reserved_at": job.reserved_at,
        "created_at": job.created_at,
        "priority": job.priority,
        "interruptions": job.interruptions,
        "worker": job.worker,
        **_content(job.payload),
    }


def _failed(row: FailedJob) -> dict[str, Any]:
    return {
        "id": str(row.uuid),
        "row": row.pk,
        "name": row.name,
        "queue": row.queue,
        "connection": row.connection,
        "state": "failed",
        "attempts": row.attempts,
        "exception_class": row.exception_class,
        "exception_message": row.exception_message,
        "failed_at": row.failed_at,
        **_content(row.payload),
        "history": history.read(row.history).attempts,
        "exception": row.exception,
    }


def _content(text: str) -> dict[str, Any]:
    try:
        read = payload.decode(text)
        options = json.loads(text)["options"]
    except InvalidPayload as error:
        return {"damaged": str(error)}
    read, problem = readable(read)
    return {
        "sent": datetime.fromtimestamp(read.sent, timezone.utc),
        "options": options,
        "tags": list(read.tags),
        "arguments": masked(read.arguments),
        **({"damaged": problem} if problem else {}),
    }


def readable(read: payload.Payload) -> tuple[payload.Payload, str]:
    """A payload with its arguments unpacked, or as it is with the reason why they are not."""
    try:
        return unpacked(read, MOST_SHOWN), ""
    except TooLong:
        return read, f"The arguments are not shown: they are longer than {MOST_SHOWN:,} bytes."
    except (InvalidPayload, QueueUnavailable) as error:
        return read, str(error)


def masked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Stored arguments without the values of what is called like a secret, at any depth."""
    return {
        name: MASK if _is_secret(name) else _masked_inside(value)
        for name, value in arguments.items()
    }


def _masked_inside(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("$") == "dict":  # pairs: its keys are not all text
            pairs = [
                [key, MASK if _is_secret(key) else _masked_inside(item)] for key, item in value["v"]
            ]
            return {"$": "dict", "v": pairs}
        return masked(value)
    if isinstance(value, list):
        return [_masked_inside(item) for item in value]
    return value


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and any(part in name.lower() for part in SECRET)
