"""Workers: a parent that talks to the store, a warden, and children that run the jobs.

`parent.Worker` is the loop. Read on in `warden` (what starts and ends the children), `child` (the
other side of the pipes), `process` (what the parent knows of a child), `page` (what all of them
share), `finish` (what follows from an outcome) and `lease` (the sign of life).
"""
