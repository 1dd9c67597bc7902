"""The parent: one loop, no threads, no user code, and nothing in it blocks for long.

A turn of the loop: do what is due, hand out what is in stock, trade with the store (settle what is
over, reserve what is next), then sleep until a child, the store, a signal or a deadline calls.
"""

from __future__ import annotations

import logging
import selectors
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from djqueue.conf import settings
from djqueue.decision import Happened
from djqueue.drivers.base import Reservation, Settlement, Verdict, Wakeup, WorkerIdentity
from djqueue.errors import QueueUnavailable
from djqueue.running.outcome import ErrorReport, Outcome
from djqueue.worker.child import HARD, WORKER_NOTICE
from djqueue.worker.crew import Burial, Crew, outcome_of
from djqueue.worker.duties import Duties
from djqueue.worker.finish import Finisher
from djqueue.worker.idle import Idle
from djqueue.worker.interrupts import STOP, Interrupts
from djqueue.worker.lease import Lease
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.pace import Pace
from djqueue.worker.process import Process
from djqueue.worker.start import Team
from djqueue.worker.stock import Stock
from djqueue.worker.wire import Item, Told

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.worker.report import Report

logger = logging.getLogger("djqueue.worker")

FLUSH_AFTER = 0.05
"""Seconds that an end may wait to be stored together with others."""
LARGEST_TRADE = 400
AHEAD = 3
"""Windows that a child may hold: one that runs, one that is ready, one that is on its way."""
GATHER = 0.001
"""Seconds in which answers of a busy child gather, so that not each one wakes the parent."""


class Worker:
    """Runs jobs until there is a reason to stop."""

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        self.options = options
        self.driver = driver
        self.report = report
        self.rules = options.rules(settings().unknown_job_grace)
        self.reason: StopReason | None = None
        self.done = 0
        self.started = time.monotonic()
        self._team = Team(
            options.connection, options.name, options.queues, self.rules, options.memory << 20
        )
        self.crew = Crew(options.workers, self._team, driver)
        self._stock = Stock()
        self._finish = Finisher(driver, options.connection, self._given_up)
        self._pace = Pace(driver.window)
        self._interrupts = Interrupts()
        self._selector = selectors.DefaultSelector()
        self._begun = 0
        self._ask_at = 0.0
        self._flush_at: float | None = None
        self._store_at = 0.0
        self._patience = 0.0
        self.end_at: float | None = None
        self._paused_by_signal = False
        self._unsent = False
        """A window is larger than its pipe, and only half on its way."""
        self._again = False
        """A settlement has put something in line: the next answer may be short without meaning
        that the queue is empty."""
        self._ends_when_empty = options.stop_when_empty or options.once

    # -- life ----------------------------------------------------------------------------------

    def run(self) -> StopReason:
        """Work until stopped; everything held is settled or handed back by then."""
        with self._interrupts.trapped():
            self._open()
            try:
                while self.reason is None or not self._settled_down():
                    self._turn(time.monotonic())
            finally:
                self._close()
        return self.reason

    def _open(self) -> None:
        self.driver.join(self._identity())
        self.lease = Lease(self.driver, self.driver.lease)
        self._idle = Idle(self.driver, self.options, self._selector)
        self._duties = Duties(self)
        self._selector.register(self._interrupts.descriptor, selectors.EVENT_READ, None)
        self._start_children(time.monotonic())
        self._stock.notices.append(_worker_notice("started"))

    def _identity(self) -> WorkerIdentity:
        import os
        import socket

        return WorkerIdentity(
            self.options.name,
            socket.gethostname(),
            os.getpid(),
            self.options.queues,
            self.driver.lease,
        )

    def _settled_down(self) -> bool:
        """Whether the worker, on its way out, has nothing left to do."""
        busy = any(process.held for process in self.crew.processes)
        if busy or self._stock.notices:
            return False
        if self._finish.settlements or self._finish.failures or self._stock.jobs:
            return time.monotonic() > self.lease.over_at  # the store is away: others take over
        return True

    def _close(self) -> None:
        try:
            self._idle.close()
            self.driver.leave()
        except QueueUnavailable as error:
            logger.warning("The worker could not say goodbye to the store: %s", error)
        self.crew.close()
        self._selector.close()
        self.report.stopped(self)

    def _turn(self, now: float) -> None:
        self._duties.run(now)
        self._start_children(now)
        self._hand_out(now)
        self._trade(now)
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
        window = self._pace.window(now)
        return window * AHEAD if window > 1 and len(self.options.queues) == 1 else window

    def _hand_out(self, now: float) -> None:
        able = self.crew.able()
        self._unsent = any(list(map(Process.send, self.crew.processes)))
        self._stock.tell(able)
        if self._stock.jobs:
            if now >= self._duties.rest_until:
                self._stock.deal(able, self._capacity(now))
                self._duties.watch_closely()
            if surplus := self._stock.surplus():
                self._give_back(surplus)

    def _room(self, now: float) -> int:
        """How many jobs to reserve now."""
        able = [process for process in self.crew.able() if not process.full]
        if not able or not self.accepting or now < self._duties.rest_until:
            return 0
        if self._stock.met_loner:
            room = sum(1 for process in able if not process.held)
        else:
            capacity = self._capacity(now)
            if len(able[0].held) > capacity * (AHEAD - 1) // AHEAD:
                return 0
            room = sum(capacity - len(process.held) for process in able)
        if self.options.max_jobs:
            room = min(room, self.options.max_jobs - self._begun)
        return max(0, min(room, LARGEST_TRADE))

    # -- the store -----------------------------------------------------------------------------

    def _trade(self, now: float) -> None:
        """Settle what is over and reserve what is next, if it is time for either."""
        if now < self._store_at:
            return
        room = self._room(now) if now >= self._ask_at else 0
        due = self._flush_at is not None and now >= self._flush_at
        if self._finish.failures and not self.with_store(self._finish.store_failures):
            return
        if room or (due and self._finish.settlements):
            self._exchange(room, now)

    def _exchange(self, room: int, now: float) -> None:
        settlements = self._finish.taken()
        self._flush_at = None
        queues = self._duties.open_queues() if room else ()
        try:
            answer = self.driver.exchange(settlements, queues, room)
        except QueueUnavailable as error:
            self._finish.broke_off(settlements)
            self.store_failed(error)
            return
        self._store_came_back()
        self._finish.settled(settlements, answer.lost)
        self._expect(settlements)
        self._begun += len(answer.reservations)
        self._stock.add(answer.reservations)
        self._hand_out(now)
        if room:
            self._answered(len(answer.reservations), room, now)
        elif self._again:
            self.look_now()

    def _answered(self, got: int, room: int, now: float) -> None:
        self._idle.answered(got, now)
        if got == room or self._again:
            self._ask_at = now
        else:
            self._ask_at = self._idle.next_poll(now)
            if not got:
                self._nothing_there()
        self._again = False

    def _expect(self, settlements: list[Settlement]) -> None:
        """What has just gone back to its queue will call nobody."""
        for settlement in settlements:
            if settlement.verdict is not Verdict.REMOVE:
                if settlement.delay:
                    self._duties.promote_in(settlement.delay)
                else:
                    self._again = True

    def _nothing_there(self) -> None:
        if any(process.held for process in self.crew.processes):
            return
        if self.options.once:
            self.stop(StopReason.ONCE)
        elif self.options.stop_when_empty and not self._stock.notices:
            self.stop(StopReason.EMPTY)

    def look_now(self) -> None:
        """Something may be there."""
        self._ask_at = 0.0

    def with_store(self, action: Callable[[], object]) -> bool:
        """Call the store; False, and a pause, if it cannot be reached."""
        try:
            action()
        except QueueUnavailable as error:
            self.store_failed(error)
            return False
        self._store_came_back()
        return True

    def store_failed(self, error: QueueUnavailable) -> None:
        """Leave the store alone for a while, ever longer, and close what may be broken."""
        if not self._patience:
            self.report.event("warning", f"{error} Trying again until it answers.")
            logger.warning("%s Trying again until it answers.", error)
        self._patience = min(max(self._patience * 2, 0.1), 2.0)
        self._store_at = time.monotonic() + self._patience
        self._idle.close()
        self.driver.broke(error)

    def _store_came_back(self) -> None:
        if self._patience:
            self._patience = 0.0
            self.lease.next_at = 0.0  # say hello before anybody judges us
            self.report.event("info", "The store answers again.")
            known = [*self.crew.held(), *self._stock.jobs]
            known += [s.reservation for s in self._finish.settlements]
            known += [f.reservation for f in self._finish.failures]
            self._give_back(self.driver.strays(known))

    def _give_back(self, reservations: list[Reservation]) -> None:
        self._begun -= len(reservations)
        self._finish.give_back(reservations)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush_at is None:
            self._flush_at = time.monotonic() + (FLUSH_AFTER if self._busy() else 0.0)

    def _busy(self) -> bool:
        return any(process.held for process in self.crew.processes)

    # -- answers -------------------------------------------------------------------------------

    def _listen(self, process: Process) -> None:
        now = time.monotonic()
        for item, told in process.answers():
            if told.outcome is not None:
                self._ended(process, item, told, told.outcome, now)
        if process.spoilt:
            self._take_back(process)
        if self._ends_when_empty and not self._busy():
            self.look_now()

    def _ended(
        self, process: Process, item: Item, told: Told, outcome: Outcome, now: float
    ) -> None:
        self.done += 1
        self._pace.observe(item.reservation.name, outcome.duration, now)
        self.note(item.reservation, outcome)
        if outcome.happened is Happened.TIMED_OUT:
            process.spoilt = True
        if told.memory:
            self.report.event(
                "warning",
                f"A child occupies {told.memory >> 20} MB after {item.reservation.name}, above"
                f" --memory {self.options.memory}.",
            )
            self.stop(StopReason.MEMORY)
        if self.options.rest:
            self._duties.rest_until = now + self.options.rest
        if self.options.max_jobs and self.done >= self.options.max_jobs:
            self.stop(StopReason.ONCE if self.options.once else StopReason.MAX_JOBS)

    def note(self, reservation: Reservation, outcome: Outcome) -> None:
        """An attempt is over: report it, and have it stored soon."""
        self._finish.add(reservation, outcome)
        self.report.ended(reservation, outcome)
        self._flush_soon()

    def _given_up(self, reservation: Reservation, error: ErrorReport) -> None:
        """A failed row is safe: now the job may be told."""
        self._stock.notices.append((reservation, error))

    def _take_back(self, process: Process) -> None:
        """What a child has not begun goes to others, or back to the store."""
        taken = process.take_back()
        for item in reversed(taken):
            if item.notice is not None:
                self._stock.notices.appendleft((item.reservation, item.notice))
        self._stock.put_first(item.reservation for item in taken if item.notice is None)

    def relieve(self, now: float) -> None:
        """Nobody waits behind a job that runs for long."""
        for process, item in list(self.crew.behind_a_long_one(now)):
            running = process.running()
            self._pace.observe(item.reservation.name, now - running[1].since if running else 1, now)
            process.full = True
            self._take_back(process)

    # -- children ------------------------------------------------------------------------------

    def _start_children(self, now: float) -> None:
        """Replace those that have ended; not while the lease is over, since others have the jobs
        by now, and on the way out only for the sake of a notice."""
        wanted = self.reason is None or bool(self._stock.notices)
        if not wanted or now >= self.lease.over_at:
            return
        for process in self.crew.start_missing(now):
            self._selector.register(process.ends.outcomes, selectors.EVENT_READ, process)

    def bury(self) -> None:
        """See to the children that have ended."""
        for burial in self.crew.bury():
            process = burial.process
            self._listen(process)
            self._take_back(process)
            for item in process.held.values():
                self._lost_with(burial, item)
            self._selector.unregister(process.ends.outcomes)
            process.close()

    def _lost_with(self, burial: Burial, item: Item) -> None:
        if item.notice is not None:
            self.report.event("warning", f"{item.reservation.name}.failed() ended its process.")
            return
        outcome = outcome_of(burial, item, self._team, self.options.memory_kill << 20)
        if outcome.happened is Happened.TIMED_OUT and outcome.error is not None:
            outcome = outcome._replace(error=outcome.error._replace(place=HARD))
        self.done += 1
        self.note(item.reservation, outcome)

    # -- stopping ------------------------------------------------------------------------------

    def stop(self, reason: StopReason) -> None:
        """Take nothing more; what runs may end within the grace."""
        if self.reason is None:
            self.reason = reason
            self.end_at = time.monotonic() + self.options.grace
            self._stock.notices.append(_worker_notice("stopping", reason.value))
            for process in self.crew.processes:
                self._take_back(process)
            self._give_back(self._stock.surplus())

    def _signalled(self, number: signal.Signals) -> None:
        if number in STOP:
            if self.reason is None:
                self.report.event("info", self._goodbye(number))
                self.stop(StopReason.SIGNAL)
            else:
                self.abort(f"It was stopped by a second {number.name}.")
        elif number is signal.SIGUSR2:
            self._paused_by_signal = True
            self.report.event("info", "Paused by SIGUSR2; SIGCONT resumes.")
        elif number is signal.SIGCONT and self._paused_by_signal:
            self._paused_by_signal = False
            self.report.event("info", "Resumed by SIGCONT.")
        elif number is signal.SIGCHLD:
            self.bury()

    def _goodbye(self, number: signal.Signals) -> str:
        running = [found[0].reservation.name for p in self.crew.processes if (found := p.running())]
        if not running:
            return f"Stopping ({number.name})."
        again = "Ctrl-C again" if number is signal.SIGINT else "A second signal"
        return f"Finishing {', '.join(running)} ({number.name}). {again} stops it at once."

    def abort(self, why: str) -> None:
        """End every child now; what it ran is handed back as interrupted."""
        self.crew.kill_all(why)

    # -- sleeping ------------------------------------------------------------------------------

    def _sleep(self, now: float) -> None:
        self.report.flush()
        wakeup: Wakeup | None = self._idle.prepare(now, idle=not self._busy() and self.accepting)
        if self._idle.heard():
            self.look_now()
        deadline = min(self._deadlines(now))
        events = self._selector.select(max(0.0, deadline - time.monotonic()))
        if events and self._only_gathering(events):
            time.sleep(GATHER)
        for key, _ in events:
            if key.fileobj == self._interrupts.descriptor:
                for number in self._interrupts.read():
                    self._signalled(number)
            elif isinstance(key.data, Process):
                if not key.data.ends.closed:
                    self._listen(key.data)
            elif key.data is wakeup:
                self._idle.heard_something()

    def _only_gathering(self, events: list[tuple[selectors.SelectorKey, int]]) -> bool:
        return all(isinstance(key.data, Process) and len(key.data.held) > 4 for key, _ in events)

    def _deadlines(self, now: float) -> list[float]:
        deadlines = [self._duties.next_at(now)]
        if self._flush_at is not None:
            deadlines.append(max(self._flush_at, self._store_at))
        if self._finish.failures or self._stock.jobs:
            deadlines.append(max(now, self._store_at))
        if self._stock.notices and self.crew.able():
            deadlines.append(now)
        if self._unsent:
            deadlines.append(now + GATHER)
        if self.end_at is not None:
            deadlines.append(self.end_at)
        if self._room(now):
            deadlines.append(max(self._idle.wake_at(self._ask_at), self._store_at))
        return deadlines


def _worker_notice(which: str, reason: str = "") -> tuple[Reservation, ErrorReport]:
    """A worker's signal, to be sent by a child."""
    return (
        Reservation("", "", WORKER_NOTICE, "", 0, 0, "", None),
        ErrorReport(which, reason, ""),
    )
