"""Workers: a parent that talks to the store, a warden, and children that run the jobs.

`worker.Worker` is the loop. Read on in `exchange` (what is settled and reserved), `warden.warden`
(what starts and ends the children), `children.child` (the other side of the pipes),
`children.process` (what the parent knows of a child), `children.page` (what all of them share) and
`store.lease` (the sign of life). What follows from an outcome is in `djqueue.finish`.
"""
