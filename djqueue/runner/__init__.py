"""One attempt: a reservation goes in, an outcome comes out. Nothing here settles anything in a
store, except `atomic`, whose end is part of the job's own transaction. Not here: where jobs come
from (`djqueue.worker`) and how outcomes are stored (`djqueue.finish`).
"""
