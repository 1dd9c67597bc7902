"""Mail on the queue: with ``EMAIL_BACKEND = "djqueue.mail.QueuedEmailBackend"`` every mail of the
project is sent by a job.
"""

from djqueue.mail.backend import QueuedEmailBackend
from djqueue.mail.job import QueuedMail

__all__ = ["QueuedEmailBackend", "QueuedMail"]
