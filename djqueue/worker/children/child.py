"""A child: runs one job at a time, in a process group of its own.

User code runs here and nowhere else. The child knows nothing of the store, except that an `atomic`
job settles itself in its own transaction.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import select
import signal
import threading
import traceback
from collections import deque
from typing import Any, NoReturn

from django.db.backends.signals import connection_created
from django.dispatch import Signal

from djqueue import compat, signals
from djqueue.composition.finishing import finish_for
from djqueue.composition.running import Bound
from djqueue.conf import settings
from djqueue.drivers import clock, make_driver
from djqueue.finish.announce import announce
from djqueue.finish.finish import Finish
from djqueue.finish.notices import Cancelled, Failed, Released, Succeeded
from djqueue.runner.cleanup.reset import close_what_is_old, connections_after
from djqueue.runner.cleanup.surroundings import Surroundings
from djqueue.runner.current import Watch
from djqueue.runner.rules import DEFAULT_TIMEOUT
from djqueue.runner.runner import Runner
from djqueue.runner.timer import AlarmTimer
from djqueue.worker.children import output
from djqueue.worker.children.channel import (
    TOKEN,
    NoticeItem,
    WindowReader,
    WorkItem,
    encode_delivered,
    encode_outcome,
    send_outcome,
)
from djqueue.worker.children.page import ENDING, Slot
from djqueue.worker.children.programs import Programs
from djqueue.worker.children.settings import Assignment
from djqueue.worker.machine import resident
from djqueue.worker.notices import (
    Notice,
    WorkerStarted,
    WorkerStopping,
    carry_out,
    time_for,
    what_it_is,
)
from djqueue.worker.warden.orphans import OWNER, prctl

TO_END = 2.0
"""Seconds that a child may take to end once it has nothing to do any more."""
_TO_START = 0.0003
"""Seconds in which no job can have started a program."""
_INSTANT = 0.5
"""Seconds of waiting after which a database connection may have become too old."""
_LOOK_EVERY = 0.05
"""Seconds between two looks at the child's own memory."""


def main(assignment: Assignment, slot: Slot) -> NoReturn:
    """Run until the parent closes the token pipe, or an attempt has made this process unusable."""
    code = 1
    try:
        _become_a_child(assignment)
        child = Child(assignment, slot)
        slot.end()  # ready
        with contextlib.suppress(EOFError):
            child.run()
        child.close()
        slot.begin(ENDING, clock.now(), hard=clock.now() + TO_END)
        _wind_up()
        code = 0
    except BaseException:  # noqa: BLE001 - an error of ours would not be reported otherwise
        traceback.print_exc()
    finally:
        output.flush()
        os._exit(code)


def _wind_up() -> None:
    """End as a program does: wait for threads that are not daemons, and run what was registered
    with `atexit`; error trackers send then. The warden makes sure that this ends.
    """
    compat.wait_for_threads()
    compat.run_exit_functions()


class Child:
    """One thread of control: token, job, outcome, and again."""

    def __init__(self, assignment: Assignment, slot: Slot) -> None:
        self._settings, self._channels = assignment.settings, assignment.channels
        self._slot = slot
        self._programs = Programs()
        self._windows = WindowReader(assignment.channels.work)
        self._items: deque[WorkItem | NoticeItem] = deque()
        self._index = 0
        self._timer = AlarmTimer()
        self._finish: Finish | None = None
        self._looked = 0.0
        self._calls = select.poll()
        for descriptor in (assignment.channels.tokens, assignment.channels.work):
            self._calls.register(descriptor, select.POLLIN)
        self._connected = True
        """A database connection may be open."""
        connection_created.connect(self._has_connected)
        self._surroundings = Surroundings()
        os.register_at_fork(after_in_child=self._was_forked)
        self._runner = Runner(
            assignment.settings.connection,
            assignment.settings.rules,
            timer=self._timer,
            watch=Watch(
                cancelled=lambda: self._slot.cancelled == self._index,
                stopping=lambda: slot.is_stopping,
            ),
            finish=self._own_finish,
            binding=Bound(self._own_finish, lambda progress: slot.report(self._index, progress)),
        )

    def run(self) -> None:
        """Begin the items for which there are tokens, until the parent closes the pipe."""
        while True:
            try:
                token = os.read(self._channels.tokens, TOKEN.size)
            except BlockingIOError:
                self._wait()
                continue
            if not token:
                return
            (index,) = TOKEN.unpack(token)
            item = self._take(index)
            spoilt = self._notify(item) if isinstance(item, NoticeItem) else self._attempt(item)
            if spoilt:
                return

    def close(self) -> None:
        """Close everything: nothing runs here any more."""
        self._timer.close()

    def _wait(self) -> None:
        """Sleep until there is something to do. A payload larger than the pipe takes comes before
        its token, and has to be read meanwhile.
        """
        if signals.worker_looping.receivers:
            self._worker_signal(signals.worker_looping)
        since = clock.now()
        readable = {descriptor for descriptor, _ in self._calls.poll()}
        if self._connected and clock.now() - since > _INSTANT:
            close_what_is_old()
        if self._channels.tokens not in readable:
            self._items.extend(self._windows.read())

    def _take(self, index: int) -> WorkItem | NoticeItem:
        """Return item `index`. Earlier items have been taken back by the parent."""
        while True:
            while self._items:
                item = self._items.popleft()
                if item.number == index:
                    return item
            self._items.extend(self._windows.read())

    def _attempt(self, item: WorkItem) -> bool:
        """Run a job and report it. Return whether this process must not be used again."""
        self._index = item.number
        reservation = item.reservation
        attempt = self._runner.attempt(reservation)
        self._begin(item.number, attempt.timeout)
        outcome = self._runner.run(attempt)
        self._clean_up(reservation.name)
        attempt.forget()
        output.flush()
        if outcome.duration > _TO_START:
            self._programs.look(reservation.name)
        self._slot.end()
        memory = self._memory(outcome.duration) if self._settings.memory else 0
        send_outcome(self._channels.outcomes, encode_outcome(item.number, outcome, memory))
        return outcome.spoilt

    def _begin(self, number: int, timeout: float) -> None:
        now = clock.now()
        if timeout:
            soft = now + timeout
            self._slot.begin(number, now, soft, soft + self._settings.kill_grace)
        else:
            self._slot.begin(number, now)

    def _clean_up(self, job: str) -> None:
        """Undo what a job may have left behind. Django is asked for its connections only if it may
        have some, since that costs a tenth of a short job.
        """
        if self._connected:
            self._connected = connections_after(job)
        self._surroundings.restore(job)

    def _was_forked(self) -> None:
        """Mark a process that a job has forked: the worker does not know it, and it reports
        nothing.
        """
        for descriptor in self._channels[:3]:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._runner.stray_fork.is_here = True

    def _has_connected(self, **_: Any) -> None:
        self._connected = True

    def _notify(self, note: NoticeItem) -> bool:
        """Deliver a notice: user code that has to follow a stored outcome. Return whether this
        process must not be used again.
        """
        self._index, notice = note.number, note.notice
        each = self._settings.rules.timeout or DEFAULT_TIMEOUT
        self._begin(note.number, time_for(notice, self._runner.teller, each))
        spoilt = self._deliver(notice)
        self._slot.end()
        send_outcome(self._channels.outcomes, encode_delivered(note.number))
        return spoilt

    def _deliver(self, notice: Notice) -> bool:
        spoilt = False
        match notice:
            case WorkerStarted():
                self._worker_signal(signals.worker_started)
            case WorkerStopping(reason):
                self._worker_signal(signals.worker_stopping, reason=reason)
            case Succeeded() | Failed() | Released() | Cancelled():
                spoilt = announce(notice, self._runner.teller, self._settings.connection)
                self._clean_up(what_it_is(notice))
            case _:
                carry_out(notice)
                self._clean_up(what_it_is(notice))
        return spoilt

    def _worker_signal(self, which: Signal, **more: Any) -> None:
        """Send a signal about the worker: the parent runs no user code."""
        own = self._settings
        signals.announce(
            which,
            type(self),
            worker=own.worker,
            connection=own.connection,
            queues=own.queues,
            **more,
        )

    def _memory(self, duration: float) -> int:
        """Return the bytes in use if they are above the limit. Checked only now and then, as it
        costs a file read.
        """
        now = clock.now()
        if now - self._looked < _LOOK_EVERY and duration < _LOOK_EVERY:
            return 0
        self._looked = now
        used = resident(os.getpid())
        return used if used > self._settings.memory else 0

    def _own_finish(self) -> Finish:
        """Return the finish of atomic jobs, on this process's own connections."""
        if self._finish is None:
            connection = self._settings.connection
            driver = make_driver(settings().connection(connection))
            self._finish = finish_for(driver.session(), connection)
        return self._finish


def _become_a_child(assignment: Assignment) -> None:
    """Set signals, group and crash dump of a process that runs user code."""
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    gc.enable()
    os.environ[OWNER] = str(os.getpid())
    output.unbuffer()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(file=assignment.channels.dump, all_threads=True)
    _die_with_warden(assignment.life, assignment.warden)


def _die_with_warden(life: int, warden: int) -> None:
    """End this process when the warden is gone: no user code runs unsupervised."""
    if prctl is not None:
        set_parent_death_signal = 1
        prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)
        return

    def watch() -> None:
        os.read(life, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="djqueue-life").start()
