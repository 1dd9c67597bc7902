"""A worker's side of its store: lease, outages, presence, wake-ups, maintenance of its queues, and
questions to SQL databases. What is settled and reserved is in `djqueue.worker.exchange`.
"""
