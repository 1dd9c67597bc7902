"""Where in finishing a process may be killed: before or after a call, found from outside.

`tests.crashing_settings` brings this to a worker. A test arms one point with a file of its name;
the first process that comes there takes the file and is killed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

from djqueue import signals

VARIABLE = "DJQUEUE_TEST_CRASHES"
"""The folder with the file of the armed point."""
DIED = "died"

EVERYWHERE = {
    "handled": "djqueue.finish.finish:Finish.add",
    "stored": "djqueue.finish.followed:FollowedEnds._store",
    "followed": "djqueue.finish.followed:FollowedEnds.within",
    "failed row": "djqueue.finish.follower:FailedRows.within",
    "result": "djqueue.results.running:Results.within",
    "chain": "djqueue.composition.chains.steps:take_next",
    "batch": "djqueue.composition.batches.counting:count",
    "chains and batches": "djqueue.composition.follower:BoundJobs.within",
    "pushed": "djqueue.composition.pushing:push",
    "settled": "djqueue.drivers.base:Session.settle",
    "exchanged": "djqueue.finish.finish:Finish.settled",
    "told": "djqueue.finish.announce:announce",
}
"""Calls that every store comes to, by what they are called here."""
OUTSIDE_SQL = {
    "asked": "djqueue.finish.followed:claim",
    "bound": "djqueue.finish.followed:FollowedEnds._store_bound",
    "moved": "djqueue.dispatch.outbox.outbox:move",
    "moved away": "djqueue.dispatch.outbox.rows:gone",
}
"""Those where jobs and what follows from them are in different stores."""
GUARDED = {"key": "djqueue.composition.unique:UniqueKeys.within"}
"""Those of stores that cannot tell who has a unique key."""
CALLS = {**EVERYWHERE, **OUTSIDE_SQL, **GUARDED}


def points_of(store: str) -> list[str]:
    """The points that a worker of `store` comes to, in the order of finishing."""
    calls = dict(EVERYWHERE)
    if store != "database":
        calls |= OUTSIDE_SQL
    if store in ("sqs", "beanstalkd"):
        calls |= GUARDED
    return [f"{when} {call}" for call in calls for when in ("before", "after")]


class Armed:
    """The folder, on the side of the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._point = ""

    def arm(self, point: str) -> None:
        """The next process that comes to `point` dies there."""
        self.disarm()
        self._point = point
        (self._folder / point).touch()

    def disarm(self) -> None:
        """Nothing dies from now on, but what has begun to."""
        for each in (self._point, DIED):
            if each:
                (self._folder / each).unlink(missing_ok=True)

    @property
    def has_killed(self) -> bool:
        return (self._folder / DIED).exists()


def install() -> None:
    """Let this process, and those forked from it, die at an armed point."""
    folder = Path(os.environ[VARIABLE])
    for name, place in CALLS.items():
        _wrap(place, name, folder)
    for each in (signals.job_succeeded, signals.job_failed):
        each.connect(_hear)  # without receivers no end is told


def _hear(**_: object) -> None:
    """Do nothing."""


def _wrap(place: str, name: str, folder: Path) -> None:
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, last = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    real = getattr(owner, last)
    wrapped = _dying(real, folder / f"before {name}", folder / f"after {name}")
    setattr(owner, last, wrapped)
    if not outer:  # a function, which others have imported by its name
        for module in [each for key, each in sys.modules.items() if key.startswith("djqueue.")]:
            if vars(module).get(last) is real:
                setattr(module, last, wrapped)


def _dying(real: Callable[..., Any], before: Path, after: Path) -> Callable[..., Any]:
    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        sized = [each for each in args if isinstance(each, Sized) and not isinstance(each, str)]
        if sized and not any(map(len, sized)):
            return real(*args, **kwargs)  # nothing is in its hands
        _die_if_armed(before)
        done = real(*args, **kwargs)
        _die_if_armed(after)
        return done

    return wrapped


def _die_if_armed(point: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        point.rename(point.parent / DIED)
        os.kill(os.getpid(), signal.SIGKILL)
