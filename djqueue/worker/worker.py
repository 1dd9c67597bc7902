"""The parent: one loop, no threads, no user code, and nothing in it blocks for long.

A turn of the loop: do what is due, hand out what is buffered, exchange with the store (settle what
ended, reserve what is next), then sleep until a child, the store, a signal or a deadline calls.
"""

from __future__ import annotations

import logging
import os
import select
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from djqueue.conf import settings
from djqueue.drivers.base import WorkerIdentity
from djqueue.errors import QueueUnavailable
from djqueue.finish.notices import Chore, ChoreKind
from djqueue.jobs import registry
from djqueue.worker import clock
from djqueue.worker.answers import Answers
from djqueue.worker.buffer import Buffer
from djqueue.worker.children import output
from djqueue.worker.children.channel import WorkItem
from djqueue.worker.children.children import Children
from djqueue.worker.children.process import Process
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.exchange import STORE_ERRORS, Exchanger
from djqueue.worker.interrupts import Interrupts
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.schedule import LAST_WORDS, Schedule
from djqueue.worker.store.lease import Lease
from djqueue.worker.store.presence import Presence
from djqueue.worker.store.sql import ParentSql
from djqueue.worker.store.wakeup import Idle
from djqueue.worker.warden import orphans
from djqueue.worker.warden.link import Link
from djqueue.worker.warden.warden import STOP
from djqueue.worker.window import WindowSizer

if TYPE_CHECKING:
    from djqueue.drivers.base import Answer, Driver
    from djqueue.worker.report.report import Report

logger = logging.getLogger("djqueue.worker")

LARGEST_EXCHANGE = 400
AHEAD = 3
"""Windows that a child may hold: one that runs, one that is ready, one that is on its way."""
PATIENCE_AT_END = 2.0
"""Seconds that a call to the store may wait once the worker is on its way out."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries to reach the store at the start."""
GATHER = 0.001
"""Seconds in which answers of a busy child gather, so that not each one wakes the parent."""


class Worker:
    """Runs jobs until there is a reason to stop."""

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        self.options = options
        self.driver = driver
        self._patience = driver.lease / 8
        driver.patience = self._patience
        self.sql = ParentSql(driver)
        self.report = report
        self.rules = options.rules(settings().unknown_job_grace)
        self.reason: StopReason | None = None
        self.done = 0
        self.started = clock.now()
        self.child_settings = ChildSettings(
            options.connection,
            options.name,
            options.queues,
            self.rules,
            options.memory << 20,
            options.kill_grace,
            options.grace,
        )
        output.hold_standard_descriptors()
        self._interrupts = Interrupts()
        self.children = Children(options.workers, self.child_settings, driver, self._interrupts)
        self.buffer = Buffer()
        self.window_sizer = WindowSizer(driver.window)
        identity = WorkerIdentity(
            options.name, socket.gethostname(), os.getpid(), options.queues, driver.lease
        )
        self.session = driver.session(identity)
        self.exchanger = Exchanger(self)
        self.presence = (
            None if driver.shows_workers else Presence(self.sql, identity, options.connection)
        )
        self._selector = selectors.DefaultSelector()
        self.answers = Answers(self, self._selector)
        self.end_at: float | None = None
        """When what still runs is stopped, once there is a reason to stop."""
        self._paused_by_signal = False
        self.ends_when_empty = options.stop_when_empty or options.once

    # -- life ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Start the warden. It is forked, so what is open of stores is closed before."""
        # What this loads and makes is there for the children to share.
        for spec in registry.all():
            spec.warm_up()
        orphans.adopt()
        self.answers.hear_warden()

    def run(self) -> StopReason:
        """Work until stopped; everything held is settled or handed back by then."""
        with self._interrupts.trapped():
            if self.children.link is None:
                self.prepare()
            self._selector.register(self._interrupts.descriptor, selectors.EVENT_READ, None)
            try:
                if self._join():
                    self._work()
            finally:
                self.children.close()
                self._selector.close()
                self.report.stopped(self)
        assert self.reason is not None  # noqa: S101
        return self.reason

    def _join(self) -> bool:
        """Join the store's workers; where it is away, wait for it. False: stopped meanwhile."""
        pause = FIRST_PAUSE
        while self.reason is None:
            try:
                self.session.join()
            except QueueUnavailable as error:
                if pause == FIRST_PAUSE:
                    logger.warning("%s Waiting until it answers.", error)
                self.report.flush()
                self._see_to(self._selector.select(pause))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return True
        return False

    def _work(self) -> None:
        self.lease = Lease(self.session)
        self.idle = Idle(self.session, self.options, self._selector)
        self.schedule = Schedule(self)
        self.children.lease_until(self.lease.over_at)
        try:
            self.schedule.run(clock.now())
            self.answers.start_children(clock.now())
            self.buffer.notices.append(Chore(ChoreKind.STARTED))
            while self.reason is None or not self._settled_down():
                self._turn(clock.now())
        except Exception as error:
            logger.critical("The worker cannot go on: %s: %s", type(error).__name__, error)
            self._give_everything_back()
            raise
        finally:
            self._leave()

    def _settled_down(self) -> bool:
        """Whether the worker, on its way out, has nothing left to do, or no time for it."""
        now = clock.now()
        if self.end_at is not None and now >= self.end_at:
            self.buffer.notices.clear()
            if now >= self.end_at + LAST_WORDS:
                return True
        if self.children.busy or self.buffer.notices:
            return False
        # Where the store stays away, others take over what it has not been told.
        return self.exchanger.nothing_left or now > self.lease.over_at

    def _give_everything_back(self) -> None:
        """After an error of our own: what ran is handed back as interrupted, the rest as it was."""
        self.abort("Its worker ended because of an error.")
        deadline = clock.now() + LAST_WORDS
        while self.children.busy and clock.now() < deadline:
            self.answers.reap()
            time.sleep(0.01)
        self.exchanger.give_back(self.buffer.drain())
        self.exchanger.store_what_it_takes()

    def _leave(self) -> None:
        """Say goodbye, unless something is still held: then the lease is what brings it back."""
        if unstored := self.exchanger.unstored:
            what = "1 ended job" if unstored == 1 else f"{unstored} ended jobs"
            logger.warning(
                "The store was not told of %s: what is on record nowhere else runs again.", what
            )
        try:
            self.idle.close()
            if self.presence:
                self.presence.leave()
            if self.exchanger.nothing_left and not any(self.children.held()):
                self.session.leave()
        except STORE_ERRORS as error:
            logger.warning("The worker could not say goodbye to the store: %s", error)

    def _turn(self, now: float) -> None:
        if self.session.lost_hold():
            self.abort("The connection that held it broke, and other workers may be given it.")
        if self.exchanger.hear(now):
            self.schedule.run(now)
            self.answers.start_children(now)
            self.hand_out(now)
            self.exchanger.run(now)
        else:
            self.schedule.run_without_store(now)
            self.hand_out(now)
        self.report.flush()
        if (answer := self.exchanger.awaited) is not None:
            self._await(answer)
        else:
            self._sleep(now)

    # -- handing out ---------------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        """Whether new jobs are wanted."""
        return self.reason is None and not self._paused_by_signal

    def _capacity(self, now: float) -> int:
        """Jobs that a child may hold. A second window is on its way while the first one runs,
        unless a better queue may get something meanwhile.
        """
        if self.options.rest:
            return 1
        window = self.window_sizer.window(now)
        return window * AHEAD if window > 1 and len(self.options.queues) == 1 else window

    def hand_out(self, now: float) -> None:
        """Give the children what is buffered; what none can be given goes back to the store."""
        able = self.children.able()
        self.answers.send()
        self.buffer.tell(able, now)
        if self.buffer.jobs:
            if self.accepting and now >= self.schedule.rest_until:
                self.buffer.deal(able, self._capacity(now))
                self.schedule.watch_closely()
            if rest := self.buffer.drain():
                self.exchanger.give_back(rest)

    def room(self, now: float) -> int:
        """How many jobs to reserve now."""
        able = [process for process in self.children.able() if not process.full]
        if not able or not self.accepting or now < self.schedule.rest_until:
            return 0
        if self.buffer.saw_exclusive_job:
            room = sum(1 for process in able if not process.held)
        else:
            capacity = self._capacity(now)
            if len(able[0].held) > capacity * (AHEAD - 1) // AHEAD:
                return 0
            room = sum(capacity - len(process.held) for process in able)
        if self.options.max_jobs:
            room = min(room, self.options.max_jobs - self.exchanger.begun)
        return max(0, min(room, LARGEST_EXCHANGE))

    # -- stopping ------------------------------------------------------------------------------

    def nothing_there(self) -> None:
        """The store had nothing for us."""
        if not self.ends_when_empty or self.children.busy:
            return
        if not self.exchanger.nothing_left:
            self.exchanger.look_now()  # what ended meanwhile may put something in line
        elif self.buffer.notices and not self.options.once:
            return
        elif self.schedule.look_for_long_dead():
            self.exchanger.look_now()
        else:
            self.stop(StopReason.ONCE if self.options.once else StopReason.EMPTY)

    def stop(self, reason: StopReason) -> None:
        """Take nothing more; what runs may end within the grace."""
        if self.reason is None:
            self.reason = reason
            # The warden may have heard a signal some time before we did.
            self.end_at = self.children.page.stop_at or clock.now() + self.options.grace
            self.driver.patience = min(self._patience, PATIENCE_AT_END)
            self.buffer.notices.append(Chore(ChoreKind.STOPPING, reason.value))
            if reason is not StopReason.SIGNAL:  # the warden has heard those itself
                self.children.page.stop_at = self.end_at
            for process in self.children.processes:
                self.answers.take_back(process)
            self.exchanger.give_back(self.buffer.drain())

    def _signalled(self, number: signal.Signals) -> None:
        if number in STOP:
            if self.reason is None:
                self.report.event("info", self._goodbye(number))
                self.stop(StopReason.SIGNAL)
            else:
                self.end_at = clock.now()
                self.grace_is_over()
                self.abort(f"It was stopped by a second {number.name}.")
        elif number is signal.SIGUSR2:
            self._paused_by_signal = True
            self.report.event("info", "Paused by SIGUSR2; SIGCONT resumes.")
        elif number is signal.SIGCONT and self._paused_by_signal:
            self._paused_by_signal = False
            self.report.event("info", "Resumed by SIGCONT.")
        elif number is signal.SIGCHLD:
            self.children.reap_orphans()

    def _goodbye(self, number: signal.Signals) -> str:
        found = [process.running() for process in self.children.processes]
        running = [
            each[0].reservation.name for each in found if each and isinstance(each[0], WorkItem)
        ]
        if not running:
            return f"Stopping ({number.name})."
        again = "Ctrl-C again" if number is signal.SIGINT else "A second signal"
        return f"Finishing {', '.join(running)} ({number.name}). {again} stops it at once."

    def grace_is_over(self) -> None:
        """The warden ends what runs; soon the worker ends too, whatever the store does."""
        self.driver.patience = min(self._patience, LAST_WORDS / 2)

    def abort(self, why: str) -> None:
        """End every child now; what it ran is handed back as interrupted."""
        self.children.kill_all(why)

    # -- sleeping ------------------------------------------------------------------------------

    def _sleep(self, now: float) -> None:
        """Until a child, the store, a signal or a deadline calls."""
        if self.exchanger.may_ask():
            self.idle.prepare(now, idle=self.room(now) > 0)
        if self.idle.heard():
            self.exchanger.look_now()
        self._see_to(self._events(now, min(self._deadlines(now))))

    def _await(self, answer: Answer) -> None:
        """Until the store answers, or anybody else calls who does not need it."""
        descriptor = answer.fileno()
        deadline = self.schedule.next_without_store()
        with self._listening_to(descriptor):
            events = self._selector.select(max(0.0, deadline - clock.now()))
        if events and all(_gathers(key.data) for key, _ in events):
            select.select([descriptor], [], [], GATHER)
        self._see_to(events)

    @contextmanager
    def _listening_to(self, descriptor: int) -> Iterator[None]:
        """Where a wake-up has it, its events are nothing new."""
        if descriptor in self._selector.get_map():
            yield
            return
        self._selector.register(descriptor, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            self._selector.unregister(descriptor)

    def _see_to(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, _ in events:
            if key.fileobj == self._interrupts.descriptor:
                for number in self._interrupts.read():
                    self._signalled(number)
            elif isinstance(key.data, Link):
                self.answers.reap()
            elif isinstance(key.data, Process) and not key.data.ends.closed:
                self.answers.listen(key.data)

    def _events(self, now: float, deadline: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What calls before `deadline`; a store that cannot call is looked at in between."""
        if clock.now() - now > GATHER and (events := self._selector.select(0)):
            return events  # they have gathered while we were at work
        while True:
            until = min(deadline, self.idle.look_again) if self.accepting else deadline
            events = self._selector.select(max(0.0, until - clock.now()))
            if events or until == deadline:
                break
            if self.idle.heard():
                self.exchanger.look_now()
                break
        if events and all(_gathers(key.data) for key, _ in events):
            time.sleep(GATHER)
        return events

    def _deadlines(self, now: float) -> Iterator[float]:
        yield self.schedule.next_at(now)
        yield from self.exchanger.deadlines(now)
        if self.buffer.notices and any(process.is_free(now) for process in self.children.able()):
            yield now


def _gathers(data: object) -> bool:
    """Whether it is a child that will have more to say in a moment."""
    return isinstance(data, Process) and len(data.held) > 4
