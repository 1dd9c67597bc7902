"""From a call to the store: dispatches, alone or many, their route, their wait for a commit, and
what is returned for them. Not here: what a job is (`djqueue.jobs`), and what stores do with it
(`djqueue.drivers`).
"""
