"""The driver that keeps jobs in a table of the project's own database. Not here: what one vendor
does in its own way (`djqueue.drivers.database.vendors`).
"""

from djqueue.drivers.database.driver import DatabaseDriver

__all__ = ["DatabaseDriver"]
