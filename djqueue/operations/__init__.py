"""What operators do and see, for commands and admin alike: select, describe, count, retry, prune,
and the record of who did it. Not here: questions, output and pages, which are for commands and
admin to make.
"""
