"""The first page of the admin: whether all is well, and what to do if it is not. Not here: what
counts as a problem, which `djqueue.operations.reports.queues.status` decides for commands as well.
"""
