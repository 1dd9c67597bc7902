"""Run jobs until stopped."""

from __future__ import annotations

import os
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from djqueue.checks.deployment import sqlite_waits
from djqueue.compat import stream_of
from djqueue.conf import settings
from djqueue.dispatch.connections import queues
from djqueue.drivers import make_driver
from djqueue.drivers.base import Capabilities, Driver
from djqueue.errors import QueueError
from djqueue.jobs import discovery
from djqueue.management.checking import add_skip_checks, refuse_errors
from djqueue.management.help import ManPage, describe
from djqueue.management.options import USAGE, queue_names
from djqueue.management.queue_names import unknown_queue
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line
from djqueue.worker import machine
from djqueue.worker.inline import LeasedInlineWorker
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.report.banner import banner
from djqueue.worker.report.report import Lines, logged_in
from djqueue.worker.worker import Worker

_AS_TYPED = (
    *("tries", "timeout", "grace", "max_jobs", "max_time", "memory", "memory_kill"),
    *("name", "heartbeat"),
)
"""Options that are used as they were typed, and have the default of `WorkerOptions` otherwise."""


class Command(BaseCommand):
    help = "Run jobs until stopped. Ctrl-C finishes the current jobs first; a second one ends them."
    examples: ClassVar[Sequence[str]] = (
        "queue_work database --queue high,default --workers 4",
        "queue_work --stop-when-empty --tries 3 --timeout 300",
    )
    requires_system_checks = ()  # workers start often; `check` has its own command

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """With examples at the end of the help."""
        parser = super().create_parser(prog_name, subcommand, formatter_class=ManPage, **kwargs)
        describe(parser, self.help, self.examples)
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("connection", nargs="?", help="(default: the default connection)")
        add("--queue", help="best first: high,default (default: the connection's own)")
        add("--once", action="store_true", help="run one job if one waits, and stop")
        add("--stop-when-empty", action="store_true", help="stop when nothing waits")
        add("--sleep", type=float, default=3.0, help=_of("seconds between polls", 3))
        add("--tries", type=int, help=_of("attempts of jobs that set no tries; 0: no limit", 1))
        add("--timeout", type=float, help=_of("seconds for jobs that set none; 0: no limit", 60))
        add("--backoff", help=_of("seconds before the next attempt, or a list: 10,60", 0))
        add("--max-jobs", type=int, help=_of("stop after this many jobs"))
        add("--max-time", type=float, help=_of("stop after this many seconds"))
        stop = "stop with exit code 12 when a child uses more MB than this after a job"
        add("--memory", type=int, help=_of(stop))
        kill = "kill a child that uses more MB than this during a job"
        add("--memory-kill", type=int, help=_of(kill))
        add("--rest", type=float, default=0.0, help=_of("seconds of rest after each job", 0))
        add("--grace", type=float, help=_of("seconds that a job may go on after TERM", 30))
        add("--workers", help=_of("children; auto: one a core; 0: run jobs in this process", 1))
        add("--max-workers", type=int, help=_of("the most children that --workers auto starts"))
        add("--name", help="name shown in listings (default: host:pid)")
        add("--heartbeat", metavar="FILE", help="touch this file every 5 s, for probes")
        add("--json", action="store_true", help="one JSON object a line")
        add_skip_checks(parser)

    def handle(self, **given: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise CommandError(
                "A worker needs the main thread of its process, for its signals. Start it as a "
                "process, or call djqueue.testing.work() in a test."
            )
        try:
            options = self._options(given)
            if not given["skip_own_checks"]:
                refuse_errors(options.connection)
            driver = make_driver(settings().connection(options.connection))
            self._refuse(driver.capabilities, options)
            reason = self._work(given, options, driver)
        except QueueError as error:
            raise CommandError(one_line(masked_text(str(error)))) from error
        if reason.exit_code:
            sys.exit(reason.exit_code)

    def _work(self, given: dict[str, Any], options: WorkerOptions, driver: Driver) -> StopReason:
        _have_streams()
        stream = self._stream(as_json=given["json"])
        report = Lines(options, stream, as_json=given["json"], verbosity=given["verbosity"])
        with logged_in(report):
            worker = (Worker if options.workers else LeasedInlineWorker)(options, driver, report)
            worker.prepare()
            report.started([*banner(options, driver, given["verbosity"]), *self._remarks(options)])
            return worker.run()

    def _options(self, given: dict[str, Any]) -> WorkerOptions:
        connection = queues[given["connection"]]
        names = queue_names(given["queue"]) or [connection.settings.queue]
        if given["memory"] is not None and given["memory"] <= 0:
            raise CommandError(
                "--memory takes megabytes, 1 or more; leave it out for no limit.", returncode=USAGE
            )
        typed = {key: given[key] for key in _AS_TYPED if given[key] is not None}
        if given["backoff"] is not None:
            typed["backoff"] = self._seconds(given["backoff"])
        if given["workers"] is not None:
            typed["workers"] = self._workers(given["workers"], given["max_workers"])
        sources = dict.fromkeys(typed, "command line")
        if given["once"]:
            typed["max_jobs"], sources["max_jobs"] = 1, "--once"
        return WorkerOptions(
            connection=connection.name,
            queues=tuple(connection.check(name) for name in names),
            once=given["once"],
            stop_when_empty=given["stop_when_empty"],
            sleep=given["sleep"],
            rest=given["rest"],
            sources=sources,
            **typed,
        )

    def _workers(self, wanted: str, most: int | None) -> int:
        if wanted == "auto":
            count = machine.children()
            return min(count, most) if most else count
        if not (wanted.isascii() and wanted.isdigit()):
            raise CommandError(
                f"--workers takes a number of 0 or more, or auto, not {wanted!r}.", returncode=USAGE
            )
        return int(wanted)

    def _stream(self, *, as_json: bool) -> TextIO | None:
        """Where the worker's lines go. With `as_json` nothing else does: what jobs print, and any
        program that they start, is on stderr.
        """
        stream: TextIO | None = stream_of(self.stdout)
        if not as_json or stream is None or stream is not sys.stdout:
            return stream
        try:
            own = os.dup(stream.fileno())
            stream.flush()
            os.dup2(sys.stderr.fileno(), stream.fileno())
        except (OSError, ValueError):  # one of the two is closed, or in memory
            return stream
        return os.fdopen(own, "w", encoding=stream.encoding, errors="backslashreplace")

    def _remarks(self, options: WorkerOptions) -> list[str]:
        """Warnings for the user who starts a worker."""
        found = [unknown_queue(options.connection, queue) for queue in options.queues]
        connection = settings().connection(options.connection)
        if connection.jobs_in_sql:
            found += [f"{each.msg} {each.hint}" for each in sqlite_waits(connection.database)]
        return [f"  ! {text}" for text in found if text]

    def _seconds(self, text: str) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in text.split(","))
        except ValueError:
            raise CommandError(
                f"--backoff takes seconds, or a list like 10,60; not {text!r}.", returncode=2
            ) from None

    def _refuse(self, capabilities: Capabilities, options: WorkerOptions) -> None:
        if failures := discovery.errors():
            first = failures[0]
            raise CommandError(
                f"{first.module} could not be imported, so its jobs would be unknown: {first.error}"
                " Fix it and restart the worker."
            )
        if reason := capabilities.why_not("workers"):
            raise CommandError(reason)
        if not capabilities.keeps_jobs:
            raise CommandError(
                f'Connection "{options.connection}" keeps no jobs, so there is nothing to work on.'
                " Name another connection, or change DEFAULT in DJQUEUE."
            )


def _of(text: str, default: float | None = None) -> str:
    """Return the help of an option with its default."""
    return f"{text} (default: {'no limit' if default is None else default})"


def _have_streams() -> None:
    """A worker may be started without stdout and stderr: what is printed then is gone."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for the whole process
