"""The command line. Commands parse arguments and call the library. Not here: what is done to jobs
(`djqueue.operations`).
"""
