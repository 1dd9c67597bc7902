"""A worker's side of its store: lease, presence, wake-ups, and questions to SQL databases. What it
asks for and settles is `djqueue.worker.exchange`.
"""
