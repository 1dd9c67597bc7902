"""What follows from the end of an attempt: one order for every way a job ends. It is settled, its
followers write what it causes, and then it is announced. Not here: how an attempt runs
(`djqueue.runner`), and what an operator does with a failed job later (`djqueue.operations`).
"""
