"""Guard rows: SQL beside a store that can neither fence a reservation nor count attempts.

A row in `djqueue_runs` says who holds a job under which number, and what its earlier attempts left.
It is written when the job is handed out, before any of its code runs, and every later write about
it is conditional on its number. The store's own id of the job is in it while a worker holds the
job: a store that hands out the same job again says thereby that its holder is gone.
"""

from djqueue.drivers.guard.guard import Guard
from djqueue.drivers.guard.state import Found, Guarded, Held, Standing

__all__ = ["Found", "Guard", "Guarded", "Held", "Standing"]
