"""How long a job waits before its next attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from djqueue.conf.kinds import LONGEST
from djqueue.errors import InvalidJob, InvalidPayload

__all__ = ["Backoff", "Exponential", "delay_after", "exponential", "stored_backoff"]

SPREAD = 0.5
"""The part of a delay that jitter may take away."""


@dataclass(frozen=True)
class Exponential:
    """Delays that double: what `exponential` makes."""

    base: float = 2
    """Seconds after the first attempt."""
    maximum: float = 600
    jitter: bool = True

    def after(self, attempt: int) -> float:
        """The delay after that attempt, from 1 on, without its jitter."""
        doubled: float = self.base * 2 ** min(attempt - 1, 64)
        return min(doubled, self.maximum)

    def __repr__(self) -> str:
        return f"exponential(base={self.base}, maximum={self.maximum}, jitter={self.jitter})"


Backoff = tuple[float, ...] | Exponential
"""One delay for each attempt, the last one repeating; or delays that double."""


def exponential(base: float = 2, maximum: float = 600, jitter: bool = True) -> Exponential:
    """Delays that double: `base` seconds after the first attempt, twice as long after each further
    one, at most `maximum`.

        @job(tries=8, backoff=exponential())              # 2, 4, 8, 16 … s
        @job(tries=8, backoff=exponential(30, 3600))      # 30, 60, 120, 240 … s

    With `jitter` each delay is between a half and the whole of that, at random, so that jobs which
    failed together do not come back together. Raises `InvalidJob` for what cannot work.
    """
    given: dict[str, Any] = {"base": base, "maximum": maximum}
    for name, value in given.items():
        if not _is_duration(value) or not value:
            raise InvalidJob(f"exponential({name}={value!r}) cannot work: it is seconds, above 0.")
    if maximum < base:
        raise InvalidJob(f"exponential() cannot grow from {base} to a maximum of {maximum}.")
    return Exponential(base, maximum, bool(jitter))


def stored_backoff(value: Any) -> Backoff | None:
    """The backoff in a payload: a list, the fields of an `Exponential`, or None. Raises
    `InvalidPayload` for anything else.
    """
    if value is None:
        return None
    if isinstance(value, list) and all(map(_is_duration, value)):
        return tuple(value)
    if isinstance(value, dict) and value.keys() == {"base", "maximum", "jitter"}:
        base, maximum, jitter = value["base"], value["maximum"], value["jitter"]
        if _is_duration(base) and _is_duration(maximum) and isinstance(jitter, bool):
            return Exponential(base, maximum, jitter)
    raise InvalidPayload('The payload\'s "backoff" is not a list of seconds.')


def _is_duration(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= LONGEST


def delay_after(backoff: Backoff, attempt: int, jitter: bool, chance: float) -> float:
    """Seconds to wait after `attempt` (from 1). Jitter takes `chance`, from 0 to 1, of what it may
    take.
    """
    if isinstance(backoff, Exponential):
        delay, jitter = backoff.after(attempt), jitter or backoff.jitter
    else:
        delay = backoff[min(attempt, len(backoff)) - 1] if backoff else 0.0
    return delay * (1 - SPREAD * chance) if jitter else delay
