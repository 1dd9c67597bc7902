from __future__ import annotations

import sys
from typing import Any

from djqueue.management.checking import refuse_errors
from djqueue.management.commands import queue_work
from djqueue.management.listening import Listener, worker_command


class Command(queue_work.Command):
    help = (
        "queue_work for development: takes what queue_work takes, and restarts the worker when "
        "the code changes, after the jobs that run have ended."
    )
    examples = ("queue_listen", "queue_listen --queue high,default --tries 3")

    _arguments: tuple[str, ...] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        self._arguments = tuple(argv[2:])
        super().run_from_argv(argv)

    def handle(self, **given: Any) -> None:
        # What the worker would refuse is refused here, before there is anything to watch.
        options = self._options(given)
        if not given["skip_own_checks"]:
            refuse_errors(options.connection)
        bounded = any(given[key] for key in ("once", "stop_when_empty", "max_jobs", "max_time"))
        listener = Listener(worker_command(self._arguments), self.stderr.write)
        code = listener.run(bounded=bounded)
        if code:
            sys.exit(code)
