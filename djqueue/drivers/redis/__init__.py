"""The driver that keeps jobs in Redis."""

from djqueue.drivers.redis.driver import RedisDriver

__all__ = ["RedisDriver"]
