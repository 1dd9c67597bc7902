"""Chains: jobs that run one after the other. Here is what users call, and the rows of the steps
that wait for their turn. Not here: how a step runs, and batches.
"""
