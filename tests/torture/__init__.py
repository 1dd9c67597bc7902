"""Processes killed at random while they work, and what is left behind counted.

`python -m tests.torture` runs the long ones; the test suite runs short, seeded ones.
"""
