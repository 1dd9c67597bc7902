"""From a call of ``dispatch()`` to the store: routing, encoding, waiting for commits, the outbox,
and the `DispatchedJob` that is returned. Not here: what a job is (`djqueue.jobs`), and what stores
do with it (`djqueue.drivers`).
"""
