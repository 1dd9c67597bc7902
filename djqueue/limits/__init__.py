"""Limits that all processes of a project share: how often something may happen, and how much of it
at once.

    from djqueue.limits import define, funnel, throttle

    define("mail", allow=10, every=60)              # for the middleware RateLimited("mail")

    with throttle("geocoder", allow=5, every=1):    # raises LimitReached
        ...
    with funnel("reports", limit=3, block=10):      # waits for up to 10 s
        ...

Here is what counts and what waits; what a job does when it is refused is said by the runner and by
`djqueue.middleware`.
"""

from __future__ import annotations

from djqueue.errors import LimitReached
from djqueue.limits.definitions import Limit, define
from djqueue.limits.funnel import funnel
from djqueue.limits.throttle import throttle

__all__ = ["Limit", "LimitReached", "define", "funnel", "throttle"]
