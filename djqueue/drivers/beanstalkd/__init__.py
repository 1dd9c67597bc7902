"""Jobs in beanstalkd: a queue is a tube. Not here: fencing numbers, attempts and histories, which
are in SQL (`djqueue.drivers.guard`).
"""

from djqueue.drivers.beanstalkd.driver import BeanstalkdDriver

__all__ = ["BeanstalkdDriver"]
