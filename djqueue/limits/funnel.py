"""`funnel`: a limit of holders at once."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from djqueue.errors import QueueUnavailable
from djqueue.limits.store import store
from djqueue.limits.values import Holder, Room
from djqueue.limits.waiting import SOONEST, Guard, name_of
from djqueue.runner.current import current_job

logger = logging.getLogger("djqueue")

OUTSIDE = 900.0
"""Seconds after which a slot comes back that is not held by a job, if its holder does not give it
back: no worker watches that process."""


def room(key: str, limit: Any) -> Room:
    """The room of a funnel; ValueError for one that cannot work."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 32767:
        raise ValueError(f"limit={limit!r} cannot work: it has to be from 1 to 32767.")
    return Room(name_of("funnel", key), limit)


class funnel(Guard):  # noqa: N801 - what users call
    """Let at most `limit` be inside at once; `LimitReached` for the others.

        with funnel("reports", limit=3):
            ...

    Never more, also when a holder is killed: the slot of a job comes back when the worker has seen
    its end, or the job runs again. `block` is for how many seconds it waits before it raises.
    ``async with`` works as well. An instance is entered once at a time.
    """

    longest_pause = 0.25  # when a holder ends is not known

    def __init__(self, key: str, limit: int, block: float = 0) -> None:
        self._room = room(key, limit)
        self._holder: Holder | None = None
        super().__init__(self._room, key, block)

    def _try(self) -> float | None:
        holder = _holder()
        held_for = store().enter(self._room, holder)
        if held_for is None:
            self._holder = holder
            return None
        return max(held_for / self._room.limit, SOONEST)

    def _step(self, refused: float) -> float:
        return refused

    def _leave(self) -> None:
        holder, self._holder = self._holder, None
        if holder is None:
            return
        for last in (False, True):
            try:
                store().leave(self._room, holder)
            except QueueUnavailable:
                if last:
                    job = current_job(None)
                    # Its context is what the job has raised.
                    hides = job is not None and job.is_encrypted
                    logger.error(
                        "A slot of the limit %r could not be given back; it comes back by itself.",
                        self._key,
                        exc_info=not hides,
                    )
            else:
                return


def _holder() -> Holder:
    job = current_job(None)
    if job is None:
        return Holder(secrets.token_hex(16), OUTSIDE)
    token = job.run_id + secrets.token_hex(8)
    return Holder(token, job.life, job.id, job.attempt + job.interruptions)
