"""What the attempts of a job left behind: a short JSON text that travels beside its payload.

    {"errors": 2, "stopped": 1,
     "attempts": [{"attempt": 1, "at": "2026-…", "class": "…", "message": "…"}, …]}

``errors`` counts attempts that ended in an exception, a timeout or a dead process; interruptions
are entries but no errors. ``stopped`` counts the interruptions that were orderly ends of a worker.
The newest `KEEP` entries are kept.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, NamedTuple

KEEP = 20
MESSAGE_LIMIT = 500


class History(NamedTuple):
    """A history, read."""

    errors: int
    attempts: list[dict[str, Any]]
    stopped: int = 0
    """Interruptions by a worker that was told to stop: on record, and held against nobody."""


def read(text: str) -> History:
    """The history in `text`; an empty or damaged text is an empty history."""
    try:
        data = json.loads(text) if text else {}
        attempts = [entry for entry in data.get("attempts", []) if isinstance(entry, dict)]
        return History(int(data.get("errors", 0)), attempts, max(0, int(data.get("stopped", 0))))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return History(0, [])


class Mishap(NamedTuple):
    """An attempt that ended in an error, as its entry tells it."""

    attempt: int
    class_name: str
    message: str


_ERRORS = ("raised", "timed out", "died", "failed")
"""Kinds of entries that are errors, and no interruptions."""


def last_error(text: str) -> Mishap | None:
    """The last error in a history, or None if it has none."""
    for entry in reversed(read(text).attempts):
        kind, attempt = entry.get("kind"), entry.get("attempt")
        if kind in _ERRORS and isinstance(attempt, int):
            return Mishap(attempt, str(entry.get("class", "")), str(entry.get("message", "")))
    return None


def add(
    text: str,
    attempt: int,
    kind: str,
    class_name: str,
    message: str,
    *,
    error: bool,
    stopped: bool = False,
) -> str:
    """`text` with one entry more."""
    history = read(text)
    entry = {
        "attempt": attempt,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "kind": kind,
        "class": class_name,
        "message": message[:MESSAGE_LIMIT],
    }
    data: dict[str, Any] = {"errors": history.errors + error}
    if history.stopped or stopped:
        data["stopped"] = history.stopped + stopped
    data["attempts"] = [*history.attempts, entry][-KEEP:]
    return json.dumps(data, separators=(",", ":"))
