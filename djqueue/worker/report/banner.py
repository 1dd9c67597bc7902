"""What a worker says before it begins (its limits, where they come from, and which queues it does
not read) and when it has to stop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from djqueue.errors import QueueError, QueueUnavailable
from djqueue.worker.options import WorkerOptions

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver, Inspector


def banner(options: WorkerOptions, driver: Driver, verbosity: int) -> Iterator[str]:
    """Return the lines of the banner; with a `verbosity` above 1 each limit says where it comes
    from.
    """
    queues = ", ".join(options.queues)
    yield f"Processing jobs from {queues} on {options.connection}. Worker {options.name}."
    yield "  " + " · ".join(_limits(options, verbosity))
    yield f"  Stop with Ctrl-C: it finishes the current job first (pid {os.getpid()})."
    yield from _said_by_driver(driver.inspector())
    yield from _unread(options, driver.inspector())


def goodbye(number: signal.Signals, running: Sequence[str]) -> str:
    """Return what a worker says when it has to stop while jobs called `running` run."""
    if not running:
        return f"Stopping ({number.name})."
    again = "Ctrl-C again" if number is signal.SIGINT else "A second signal"
    return f"Finishing {', '.join(running)} ({number.name}). {again} stops it at once."


def _limits(options: WorkerOptions, verbosity: int) -> Iterator[str]:
    children = f"{options.workers} children" if options.workers != 1 else "1 child"
    values = {
        "workers": children if options.workers else "in this process: no timeouts",
        "tries": f"tries {options.tries or 'without limit'}",
        "timeout": _timeout(options),
        "backoff": f"backoff {', '.join(f'{s:g}' for s in options.backoff) or '0'} s",
        "grace": f"grace {options.grace:g} s",
        "memory": f"memory {options.memory} MB" if options.memory else "",
        "memory_kill": f"memory-kill {options.memory_kill} MB" if options.memory_kill else "",
        "max_jobs": f"max-jobs {options.max_jobs}" if options.max_jobs > options.once else "",
        "max_time": f"max-time {options.max_time:g} s" if options.max_time else "",
    }
    for key, text in values.items():
        if text:
            source = options.sources.get(key, "default")
            yield f"{text} ({source})" if verbosity > 1 or source == "default" else text


def _timeout(options: WorkerOptions) -> str:
    if not options.workers:  # no warden
        return ""
    return f"timeout {options.timeout:g} s" if options.timeout else "no timeout"


def _said_by_driver(inspector: Inspector) -> Iterator[str]:
    try:
        remarks = inspector.warnings()
    except QueueUnavailable:  # the worker will say so, and wait for it
        return
    for line in remarks:
        yield f"  {line}"


def _unread(options: WorkerOptions, inspector: Inspector) -> Iterator[str]:
    """Return a warning about jobs in queues that no worker reads: the most common reason why
    nothing happens.
    """
    try:
        others = [queue for queue in inspector.queues() if queue not in options.queues]
        waiting = {queue: inspector.counts(queue).waiting or 0 for queue in others}
    except QueueError:
        return
    for queue, count in waiting.items():
        if count:
            jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
            both = ",".join((*options.queues, queue))
            yield f"  {jobs} on {queue}, which this worker does not read: --queue {both}"
