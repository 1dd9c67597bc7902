"""Jobs in Amazon SQS: standard and FIFO queues."""

from djqueue.drivers.sqs.driver import SqsDriver

__all__ = ["SqsDriver"]
