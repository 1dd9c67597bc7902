"""The names that a queue may have."""

from __future__ import annotations

import re

from djqueue.errors import QueueError

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}\Z")
_TAGGED_QUEUE_NAME = re.compile(r"[A-Za-z0-9_.-]*\{[A-Za-z0-9_.-]+\}[A-Za-z0-9_.-]*\Z")


def check_queue_name(name: str, *, tagged: bool = False) -> str:
    """Return `name` if it is valid for a queue; `tagged` allows one ``{tag}``, as on Redis. Raises
    `QueueError`.
    """
    if _QUEUE_NAME.match(name) or (tagged and len(name) <= 80 and _TAGGED_QUEUE_NAME.match(name)):
        return name
    raise QueueError(
        f"{name!r:.100} is not a queue name: use letters, digits and _ . - only, at most 80."
    )
