"""The clock of leases: one for all processes of a worker, which counts while a machine sleeps.

A store goes on counting a lease while a laptop is closed or a virtual machine is suspended, so
the worker has to as well. `time.monotonic` stands still then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

# macOS has no CLOCK_BOOTTIME; its C library's CLOCK_MONOTONIC counts sleep, unlike time.monotonic.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


Clock = Callable[[], float]
"""Gives the time. Leases, pauses and wake-ups are given one; in tests its hands can be moved."""

now: Clock = partial(time.clock_gettime, _CLOCK)
"""Seconds since a moment that is the same for all processes of this machine."""
