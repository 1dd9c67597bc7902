"""Limits with a name: defined once, in a ``jobs.py`` say, and used through `RateLimited`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from djqueue.conf import did_you_mean
from djqueue.errors import ConfigurationError, UnknownLimit
from djqueue.limits.throttle import rate
from djqueue.limits.values import Rate

if TYPE_CHECKING:
    from djqueue.runner.current import CurrentJob

__all__ = ["Limit", "define", "find", "known"]

By = Callable[["CurrentJob"], object]


@dataclass(frozen=True)
class Limit:
    """``allow`` uses in any ``every`` seconds; with ``by``, for each of its values."""

    name: str
    allow: int
    every: float
    by: By | None = None

    def rate_of(self, job: CurrentJob) -> Rate | None:
        """What holds for that job; None where ``by`` says that it is not limited."""
        if self.by is None:
            return rate(self.name, self.allow, self.every)
        value = self.by(job)
        return None if value is None else rate(f"{self.name}:{value}", self.allow, self.every)


_limits: dict[str, Limit] = {}


def define(name: str, allow: int, every: float | timedelta, by: By | None = None) -> Limit:
    """Name a limit: at most `allow` in any period of `every` (seconds, or a `timedelta`).

    `by` is a function of `current_job()`: each value of it has a limit of its own, and None has
    none. ValueError for a limit that cannot work, `ConfigurationError` for a name that has another
    limit already.
    """
    checked = rate(name, allow, every)
    limit = Limit(name, allow, checked.every, by)
    there = _limits.setdefault(name, limit)
    if (there.allow, there.every) != (limit.allow, limit.every):
        raise ConfigurationError(
            f'The limit "{name}" is defined twice: {there.allow} every {there.every:g} s, and'
            f" {limit.allow} every {limit.every:g} s. Give one of them another name."
        )
    _limits[name] = limit
    return limit


def find(name: str) -> Limit:
    """The limit of that name; `UnknownLimit` if there is none."""
    try:
        return _limits[name]
    except KeyError:
        raise UnknownLimit(
            f'No limit is called "{name}".{did_you_mean(name, _limits)} Define it in a module that'
            f' workers import, as jobs.py: define("{name}", allow=10, every=60).'
        ) from None


def known() -> frozenset[str]:
    """The names of all limits."""
    return frozenset(_limits)
