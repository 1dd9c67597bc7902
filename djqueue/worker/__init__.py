"""Workers: a parent that talks to the store, a warden, and children that run the jobs.

`worker.Worker` is the loop: it alone acts, upon facts that its parts return. Read on in `exchange`
(what is settled and reserved), `buffer` (what is handed out), `schedule` (the timers),
`store.access` (the store: lease, wake-up, outages), `store.maintenance` (controls, delayed jobs,
dead workers), `children.children` and `children.process` (what the parent knows of its children),
`children.child` (the other side of the pipes), `children.page` (what all of them share), and
`warden.warden` (what starts and ends the children). What follows from an outcome is in
`djqueue.finish`.
"""
