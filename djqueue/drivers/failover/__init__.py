"""The driver that passes jobs on to the first of several connections that takes them."""

from djqueue.drivers.failover.driver import FailoverDriver

__all__ = ["FailoverDriver"]
