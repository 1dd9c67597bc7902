"""What is known of a job that somebody wrote: its name, its options, its arguments. It dispatches
nothing: `djqueue.jobs.job` and `djqueue.jobs.function` do, which stand above `djqueue.dispatch`.
"""
