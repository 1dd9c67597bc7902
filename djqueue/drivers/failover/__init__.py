"""The driver that passes jobs on to the first of several connections that takes them. Not here:
anything for workers: they run for the members, not for this connection.
"""

from djqueue.drivers.failover.driver import FailoverDriver

__all__ = ["FailoverDriver"]
