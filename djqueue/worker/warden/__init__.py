"""The warden: the process between a worker and its children, which runs no code of users, speaks to
no store, and ends children in time. Not here: what becomes of the jobs of a child that it has
ended, which the parent decides.
"""
