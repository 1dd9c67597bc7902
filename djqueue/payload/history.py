"""The history of a job's attempts: a short JSON text that is stored next to the payload.

    {"errors": 2, "stopped": 1,
     "attempts": [{"attempt": 1, "at": "2026-…", "class": "…", "message": "…"}, …]}

``errors`` counts attempts that ended with an exception, a timeout or the death of the process.
Interruptions are entries, but not errors. ``stopped`` counts interruptions by the orderly end of a
worker.
The newest `KEEP` entries are kept.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, NamedTuple

KEEP = 20
MESSAGE_LIMIT = 500


class History(NamedTuple):
    """A parsed history."""

    errors: int
    attempts: list[dict[str, Any]]
    stopped: int = 0
    """Interruptions by a worker that was asked to stop: recorded, but not counted against
    ``max_interruptions``."""


def read(text: str) -> History:
    """Parse a history. An empty or damaged text gives an empty history."""
    try:
        data = json.loads(text) if text else {}
        attempts = [entry for entry in data.get("attempts", []) if isinstance(entry, dict)]
        return History(int(data.get("errors", 0)), attempts, max(0, int(data.get("stopped", 0))))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return History(0, [])


def shown(text: str) -> list[dict[str, Any]]:
    """Return the entries of a history for people, without what needs a key."""
    return [
        {key: value for key, value in entry.items() if key != "encrypted"}
        for entry in read(text).attempts
    ]


_ERRORS = ("raised", "timed out", "died", "failed")
"""The kinds of entries that are errors, not interruptions."""


def first_at(past: History, kind: str) -> float | None:
    """Return the time of the first entry of that kind, in seconds since the epoch, or None."""
    for entry in past.attempts:
        if entry.get("kind") == kind:
            try:
                return datetime.fromisoformat(str(entry["at"])).timestamp()
            except (KeyError, ValueError):
                return None
    return None


class Entry(NamedTuple):
    """An attempt that ended badly."""

    attempt: int
    kind: str
    class_name: str
    message: str
    stopped: bool = False
    """It was interrupted by the orderly end of its worker."""
    encrypted: str = ""
    """A token with the message, of an encrypted job. The newest entry alone keeps it."""

    @property
    def is_error(self) -> bool:
        """Whether it counts as an error."""
        return self.kind in _ERRORS


def last_error(past: History) -> Entry | None:
    """Return the last error in a history, or None."""
    for entry in reversed(past.attempts):
        kind, attempt = entry.get("kind"), entry.get("attempt")
        if kind in _ERRORS and isinstance(attempt, int):
            name, message = str(entry.get("class", "")), str(entry.get("message", ""))
            return Entry(
                attempt, str(kind), name, message, encrypted=str(entry.get("encrypted", ""))
            )
    return None


def add(past: History, entry: Entry, *, instead: bool = False) -> str:
    """Return the history `past` as text, with one more entry; with `instead` in the place of a last
    one of the same kind.
    """
    attempts = past.attempts
    if instead and attempts and attempts[-1].get("kind") == entry.kind:
        attempts = attempts[:-1]
    data: dict[str, Any] = {"errors": past.errors + entry.is_error}
    if past.stopped or entry.stopped:
        data["stopped"] = past.stopped + entry.stopped
    new = {
        "attempt": entry.attempt,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "kind": entry.kind,
        "class": entry.class_name,
        "message": entry.message[:MESSAGE_LIMIT],
    }
    if entry.encrypted:
        for each in attempts:
            each.pop("encrypted", None)
        new["encrypted"] = entry.encrypted
    data["attempts"] = [*attempts, new][-KEEP:]
    return json.dumps(data, separators=(",", ":"))
