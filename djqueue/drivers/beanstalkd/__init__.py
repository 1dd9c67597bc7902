"""Jobs in beanstalkd: a queue is a tube."""

from djqueue.drivers.beanstalkd.driver import BeanstalkdDriver

__all__ = ["BeanstalkdDriver"]
