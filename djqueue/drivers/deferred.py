"""The driver that runs each job after the response, in the process that dispatches it."""

from __future__ import annotations

from djqueue.drivers.base import Capabilities
from djqueue.drivers.sync import SyncDriver


class DeferredDriver(SyncDriver):
    """Keeps nothing: the dispatcher sees `Capabilities.after_response`, and runs the job when
    the response of its request has been sent; outside a request, at once.
    """

    capabilities = Capabilities(inline=True, after_response=True)
