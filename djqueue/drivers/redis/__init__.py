"""The driver that keeps jobs in Redis. Not here: connections and their errors
(`djqueue.drivers.redis.servers`).
"""

from djqueue.drivers.redis.driver import RedisDriver

__all__ = ["RedisDriver"]
