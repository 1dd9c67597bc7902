"""What binds jobs together: chains, batches, unique keys. Here is what users call, what is
stored, and what follows when one of the jobs ends. Not here: the order in which an end is stored
(`djqueue.finish`).
"""
