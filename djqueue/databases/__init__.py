"""SQL databases, whatever djqueue keeps in them: how long a worker waits for one, what its errors
mean, and its clock. Not here: the jobs table, which is `djqueue.drivers.database`.
"""
