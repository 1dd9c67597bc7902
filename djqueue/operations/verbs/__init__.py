"""What operators do to single jobs beside what `djqueue.operations.changes` does: stop, move, run.
Each returns a `Result`: what was changed, what was not, and why.
"""
