"""What follows from the end of an attempt: the settlement, the failed row, the notices. Not here:
how an attempt runs (`djqueue.runner`), and what an operator does with a failed job later
(`djqueue.operations`).
"""
