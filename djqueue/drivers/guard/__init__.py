"""Guarded drivers: a store that neither fences reservations nor counts attempts, and SQL beside it.

A row in `djqueue_runs` says which worker holds a job, under which fencing number, and what earlier
attempts left. `Guard` reads and writes the rows: one is written when the job is handed out, before
any of its code runs, and every later write is conditional on its number. The store's own id of the
job is in the row while a worker holds the job: a store that hands out that id again says thereby
that the worker is gone.

What belongs here is the same for SQS and beanstalkd. What only one of them does is in its driver.
"""

from djqueue.drivers.guard.guard import Guard
from djqueue.drivers.guard.state import Claim, Delivery, GuardRow, GuardState

__all__ = ["Claim", "Delivery", "Guard", "GuardRow", "GuardState"]
