"""What an attempt may leave in its process, and how it is undone before the next one. Not here:
language, time zone and context variables, which end with the context of each job.
"""
