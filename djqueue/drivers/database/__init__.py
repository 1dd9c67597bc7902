"""The driver that keeps jobs in a table of the project's own database."""

from djqueue.drivers.database.driver import DatabaseDriver

__all__ = ["DatabaseDriver"]
