"""Jobs in Amazon SQS: standard and FIFO queues. Not here: fencing numbers, attempts and histories,
which are in SQL (`djqueue.drivers.guard`).
"""

from djqueue.drivers.sqs.driver import SqsDriver

__all__ = ["SqsDriver"]
