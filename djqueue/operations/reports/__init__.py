"""What operators read: lists of jobs, workers and registered jobs, why a job waits, health. Nothing
here changes anything.
"""
