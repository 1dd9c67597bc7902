"""The warden: the process between a worker and its children, which runs no code of users, speaks to
no store, and ends children in time.
"""
