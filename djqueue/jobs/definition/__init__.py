"""The definition of a job: its name, its options, its arguments. Not here: dispatching it, which
`djqueue.jobs.job` and `djqueue.jobs.function` do.
"""
