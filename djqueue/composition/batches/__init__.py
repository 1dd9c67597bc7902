"""Batches: jobs that are followed together. Here is what users call, how members are added, how
their ends are counted, and what `JobBatch` does. Not here: chains, and the order in which an end is
stored.
"""
