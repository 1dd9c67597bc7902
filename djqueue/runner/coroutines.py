"""The end of an ``async def handle``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from asgiref.sync import async_to_sync

from djqueue.errors import JobTimeout
from djqueue.runner.timer import Timer

TO_CANCEL = 1.0
"""Seconds that a coroutine has for its ``finally`` blocks after its timeout."""


def run_coroutine(value: Any, timer: Timer) -> Any:
    """Return what ``handle()`` returned. A coroutine is run to its end first, in the rest of the
    job's time. ORM calls in it stay on this thread's connection.
    """
    if not asyncio.iscoroutine(value):
        return value
    left = timer.left()
    if left is not None:
        # The event loop is in a thread of its own, where no alarm rings: the loop counts, and the
        # alarm is for what blocks this thread.
        timer.start(left + TO_CANCEL + 0.5)
    return async_to_sync(_run)(value, left)


async def _run(coroutine: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
    handling = asyncio.ensure_future(coroutine)
    await asyncio.wait({handling}, timeout=timeout)
    if handling.done():
        return handling.result()
    handling.cancel()
    await asyncio.wait({handling}, timeout=TO_CANCEL)
    raise JobTimeout
