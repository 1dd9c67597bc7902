"""The stored form of a job: its text, its ids, its history, and large arguments, packed or in the
payload store. Nothing here runs or loads a job.
"""
