"""Connections to Redis: a server, a cluster, their addresses and settings."""
