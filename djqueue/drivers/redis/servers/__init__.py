"""Connections to Redis: a server, a cluster, their addresses and settings. Not here: what the keys
hold (`djqueue.drivers.redis.keys`).
"""
