"""The state of all queues in the text format of Prometheus. Read from stores and statistics at each
request: no process counts anything of its own, so it does not matter which one answers.
"""
