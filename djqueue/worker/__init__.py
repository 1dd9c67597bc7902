"""Workers: a parent that talks to the store, children that run the jobs.

`parent.Worker` is the loop. Read on in `child` (the other side of the pipes), `process` (what the
parent knows of a child), `finish` (what follows from an outcome) and `lease` (the sign of life).
"""
