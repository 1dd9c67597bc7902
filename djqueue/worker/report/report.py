"""What a worker prints: one line a job."""

from __future__ import annotations

import functools
import json
import logging
import os
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol, TextIO

from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.runner.decision import LOST, RETURNED, Action
from djqueue.runner.outcome import End, Outcome
from djqueue.worker.children.channel import WorkItem

if TYPE_CHECKING:
    from djqueue.worker.children.process import Process
    from djqueue.worker.options import StopReason, WorkerOptions

SHOW_RUNNING_AFTER = 0.1
"""Seconds after which a job that still runs gets a line of its own."""
_COLOURS = {"DONE": "32", "FAIL": "31", "RELEASED": "33", "RUNNING": "36", "CANCELLED": "33"}
_LAST_WAIT = 0.5
"""Seconds that the last lines of a worker may wait for a reader."""
_WRITE_AT_ONCE = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 512


class Working(Protocol):
    """What a report asks of a worker."""

    reason: StopReason | None
    started: float
    done: int


class Report:
    """Says nothing: for workers inside tests and other programs."""

    def started(self, lines: Iterable[str]) -> None:
        """Show the banner."""

    def event(self, level: str, text: str) -> None:
        """Report something about the worker itself."""

    def attempts_ended(self, ends: Iterable[End]) -> None:
        """Report attempts that have ended while their store does not know it yet. That a job runs
        again is said now, so that the run is explained even if this process is killed in between.
        """

    def jobs_ended(self, ends: Iterable[End]) -> None:
        """Report ends that the store knows. Ends of jobs that do not run again are said now."""

    def still_running(self, processes: Iterable[Process], now: float) -> None:
        """Look for jobs that have been running for long enough to be mentioned."""

    def stopped(self, worker: Working) -> None:
        """Report that the worker ends."""

    def flush(self, *, wait: bool = False) -> None:
        """Write what has gathered."""


class Lines(Report):
    """Text for people and log files, or JSON, one object a line."""

    def __init__(
        self, options: WorkerOptions, stream: TextIO | None, *, as_json: bool, verbosity: int
    ) -> None:
        self._options = options
        self._stream = stream
        self._json = as_json
        self._verbosity = verbosity
        self._terminal = _is_terminal(stream)
        self._waiting: list[str] = []
        self._left_out = 0
        self._shown: set[str] = set()
        self._second = 0
        self._stamp = ""

    def started(self, lines: Iterable[str]) -> None:
        """Write the lines as text, or that it has started as JSON."""
        if not self._json:
            for line in lines:
                self._put(line)
        else:
            self._object("started", None)
        self.flush()

    def event(self, level: str, text: str) -> None:
        """Write a line; as JSON an object whose ``error`` is the text."""
        if self._json:
            self._object(level, None, error=text)
        else:
            self._put(f"{self._time()}  {level.upper():<8}{_one_line(text)}")

    def attempts_ended(self, ends: Iterable[End]) -> None:
        """Write the lines of attempts whose job runs again: here, or where another worker has
        it.
        """
        for reservation, outcome, _ in ends:
            if self._shown:
                self._shown.discard(reservation.id)
            if outcome.ending is not RETURNED and (outcome.repeats or outcome.ending is LOST):
                self._ended(reservation, outcome)

    def jobs_ended(self, ends: Iterable[End]) -> None:
        """Write their lines."""
        for reservation, outcome, _ in ends:
            if outcome.ending is RETURNED:
                self._line_of(reservation, outcome, _DONE)
            elif not outcome.repeats:
                self._ended(reservation, outcome)

    def _ended(self, reservation: Reservation, outcome: Outcome) -> None:
        """Write the job's line, and the reason if it is not done."""
        state = _STATES[outcome.decision.action]
        if outcome.ending is LOST:
            state = _STATES[Action.RETRY]  # by the worker that has it now
        self._line_of(reservation, outcome, state)
        if outcome.error is not None and not self._json:
            self._put(f"{' ' * 21}{_why(outcome)}")

    def _line_of(self, reservation: Reservation, outcome: Outcome, state: str) -> None:
        if state is _DONE and not self._verbosity:
            return
        if self._json:
            self._object(state.lower(), reservation, outcome)
        else:
            self._put(self._line(reservation, state, _duration(outcome.duration)))

    def still_running(self, processes: Iterable[Process], now: float) -> None:
        """Write one line for each job that has been running for a while."""
        for process in processes:
            found = process.running()
            if found is None or not isinstance(found[0], WorkItem):
                continue
            reservation = found[0].reservation
            if now - found[1].since > SHOW_RUNNING_AFTER and reservation.id not in self._shown:
                self._shown.add(reservation.id)
                if self._json:
                    self._object("running", reservation)
                elif self._verbosity:
                    self._put(self._line(reservation, "RUNNING", ""))
        self.flush()

    def stopped(self, worker: Working) -> None:
        """Write the last line."""
        reason = worker.reason.value if worker.reason else "an error"
        took = clock.now() - worker.started
        if self._json:
            self._object("stopped", None, reason=reason)
        else:
            jobs = "1 job" if worker.done == 1 else f"{worker.done} jobs"
            self._put(f"{self._time()}  Stopped after {jobs} in {took:.1f} s. Reason: {reason}.")
        self.flush(wait=True)

    def _line(self, reservation: Reservation, state: str, duration: str) -> str:
        shown = f"\x1b[{_COLOURS[state]}m{state}\x1b[0m" if self._terminal else state
        name, queue = _one_line(reservation.name), _one_line(reservation.queue)
        line = f"{self._time()}  {name}  {reservation.id}  {queue}  {reservation.attempt}  {shown}"
        return f"{line}  {duration}" if duration else line

    def _object(
        self,
        event: str,
        reservation: Reservation | None,
        outcome: Outcome | None = None,
        error: str | None = None,
        reason: str | None = None,
    ) -> None:
        if outcome is not None and outcome.error is not None:
            error = f"{outcome.error.class_name}: {outcome.error.message}"
        data = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "event": event,
            "id": reservation.id if reservation else None,
            "name": reservation.name if reservation else None,
            "queue": reservation.queue if reservation else None,
            "connection": self._options.connection,
            "attempt": reservation.attempt if reservation else None,
            "duration": round(outcome.duration, 6) if outcome else None,
            "error": error,
            "reason": reason,
        }
        self._put(json.dumps(data))

    # -- writing -------------------------------------------------------------------------------

    def _time(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return self._stamp

    def _put(self, line: str) -> None:
        self._waiting.append(line)

    def flush(self, *, wait: bool = False) -> None:
        """Write as much as the reader takes: neither a full pipe nor a full disk may stop the
        renewals of the lease, or the worker. What cannot be written is left out, and counted.
        """
        lines, self._waiting = self._waiting, []
        if lines:
            try:
                self._write(lines, _LAST_WAIT if wait else 0.0)
            except (OSError, ValueError):  # no reader, no room, closed
                self._left_out += len(lines)

    def _write(self, lines: Sequence[str], patience: float) -> None:
        if self._stream is None:
            return
        text = "\n".join(lines) + "\n"
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            self._stream.write(text)
            return
        data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        end = clock.now() + patience
        while data:
            if not _takes_more(descriptor, max(end - clock.now(), 0.0)):
                self._left_out += data.count(b"\n")
                return
            if self._left_out:
                os.write(
                    descriptor,
                    f"… {self._left_out} lines left out: the reader was too slow\n".encode(),
                )
                self._left_out = 0
            data = data[os.write(descriptor, data[:_WRITE_AT_ONCE]) :]


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _takes_more(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class LogHandler(logging.Handler):
    """Makes a line of each warning of the worker's own, in its place among the others.

    The worker's logger says it to whatever handlers the project has as well. Without one, logging's
    last resort would say it a second time.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in a child, whose lines are not the worker's, through the last resort of
        logging.
        """
        if os.getpid() != self._pid:
            if logging.lastResort:
                logging.lastResort.handle(record)
            return
        try:
            self._report.event(record.levelname.lower(), record.getMessage())
        except Exception:  # noqa: BLE001 - logging's own rule: a record that cannot be shown harms nothing
            self.handleError(record)


@contextmanager
def logged_in(report: Report) -> Iterator[None]:
    """Turn the worker's warnings into lines of `report` in this block."""
    logger, handler = logging.getLogger("djqueue.worker"), LogHandler(report)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        report.flush()


_DONE = "DONE"
_STATES = {
    Action.DONE: _DONE,
    Action.RETRY: "RELEASED",
    Action.INTERRUPT: "RELEASED",
    Action.FAIL: "FAIL",
    Action.CANCEL: "CANCELLED",
}


def _why(outcome: Outcome) -> str:
    error = outcome.error
    first = _one_line(f"{error.class_name}: {error.message}".partition("\n")[0]) if error else ""
    if outcome.decision.action is Action.INTERRUPT:
        return "↳ interrupted; it runs again, and the attempt does not count"
    if outcome.decision.action is Action.RETRY:
        return f"↳ {first} · again in {outcome.decision.delay:g} s"
    return f"↳ {first}"


@functools.lru_cache(256)
def _one_line(text: str) -> str:
    """Return a text from outside on one line, so that it can neither forge a line nor move the
    cursor.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.2f}ms" if seconds < 1 else f"{seconds:.2f}s"
