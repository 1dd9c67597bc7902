"""How fast djqueue is, measured beside raw loops and other queues in one run.

    python -m benchmarks                     everything, 9 rounds
    python -m benchmarks postgresql          all scenarios of one store
    python -m benchmarks sqlite.drain --quick

docs/benchmarks.md says how to read the result. From the outside in: `scenarios` says what is
measured, `rounds` interleaves those who take part, an `agents.Agent` is one of them in a process
(and virtual environment) of its own, `contestants` is the code that runs there.
"""
