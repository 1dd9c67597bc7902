"""How many jobs a child is given at a time: about 50 ms of the slowest kind it has met lately.

Short jobs travel in windows, since a round trip a job would decide everything; a long one goes
alone, so that it keeps no other waiting.
"""

from __future__ import annotations

SPAN = 0.05
"""Seconds of work in a window."""
LATELY = 5.0
"""Seconds after which a kind of job that did not come again is not reckoned with."""
_WEIGHT = 0.2


class WindowSizer:
    """Sizes windows from what jobs have taken."""

    def __init__(self, largest: int = 100) -> None:
        self._largest = largest
        self._usual: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._window = 1
        self._stale = 0.0

    def observe(self, name: str, seconds: float, now: float) -> None:
        """A job called `name` took, or has taken so far, so many seconds."""
        usual = self._usual.get(name)
        if usual is None or seconds > usual * 4:  # slower than known: believe it at once
            self._usual[name] = seconds
            self._stale = 0.0
        else:
            self._usual[name] = usual + _WEIGHT * (seconds - usual)
        self._seen[name] = now

    def window(self, now: float) -> int:
        """How many jobs make a window at this moment."""
        if now >= self._stale:
            self._stale = now + 0.1
            for name in [name for name, seen in self._seen.items() if now - seen > LATELY]:
                del self._seen[name], self._usual[name]
            slowest = max(self._usual.values(), default=SPAN)
            self._window = max(1, min(self._largest, int(SPAN / max(slowest, 1e-6))))
        return self._window
