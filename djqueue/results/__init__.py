"""What is kept of jobs with ``store_result``: status, progress, value and error, from the dispatch
on until some time after the end.
"""
