"""The parent: one loop, no threads, no user code, and nothing in it blocks for long.

A turn of the loop: take what the store answered, do what is due, hand out what is buffered,
exchange with the store (settle what ended, reserve what is next), then sleep until a child, the
store, a signal or a timer wakes it. The parts return facts, and `Worker` alone applies them.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from djqueue.conf import settings
from djqueue.drivers import clock
from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.finish.notices import after, notices_of
from djqueue.jobs import registry
from djqueue.runner.outcome import End
from djqueue.worker import exchange
from djqueue.worker.buffer import Buffer
from djqueue.worker.children import facts, output
from djqueue.worker.children.children import Children
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.events import Events
from djqueue.worker.exchange import Exchanger
from djqueue.worker.notices import WorkerStarted, WorkerStopping
from djqueue.worker.options import StopReason, WorkerOptions
from djqueue.worker.progress import LAST_WORDS, PATIENCE_AT_END, Progress
from djqueue.worker.report.banner import goodbye
from djqueue.worker.report.life import SignsOfLife
from djqueue.worker.schedule import NEVER, Schedule, Timer
from djqueue.worker.store import maintenance
from djqueue.worker.store.access import FIRST_PAUSE, LONGEST_PAUSE, StoreAccess
from djqueue.worker.store.maintenance import Maintenance
from djqueue.worker.warden import orphans
from djqueue.worker.warden.warden import STOP

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver
    from djqueue.worker.report.report import Report

logger = logging.getLogger("djqueue.worker")

WATCH_EVERY, WATCH_IDLE_EVERY = 0.05, 1.0
"""Seconds between looks at what runs, while something runs and while nothing does."""
SAMPLE_MEMORY_EVERY = 0.25
_GREW = "A child occupies %d MB after %s, above --memory %d."


class Worker:
    """Runs jobs until there is a reason to stop."""

    def __init__(self, options: WorkerOptions, driver: Driver, report: Report) -> None:
        output.hold_standard_descriptors()
        self.options = options
        self.report = report
        self.progress = Progress(started=clock.now())
        self.events = Events()
        self.life = SignsOfLife(options.heartbeat)
        self.store = StoreAccess(driver, options, self.events.selector)
        rules = options.rules(settings().unknown_job_grace)
        self.maintenance = Maintenance(self.store, options, rules)
        child_settings = ChildSettings.of(options, rules)
        self.children = Children(options.workers, child_settings, driver, self.events)
        self.buffer = Buffer(1 if options.rest else driver.window, queues=len(options.queues))
        self.exchanger = Exchanger(self.store, options.connection)
        self.schedule = Schedule.of(options, self.progress.started, recover_after=driver.lease / 4)

    # -- life ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Start the warden. It is forked, so what is open of stores is closed before."""
        # What this loads and makes is there for the children to share.
        for spec in registry.all():
            spec.warm_up()
        orphans.adopt()
        self.children.start_warden()

    def run(self) -> StopReason:
        """Work until stopped. Everything that was held is settled or handed back by then."""
        with self.events.open():
            try:
                if self.children.wardens.link is None:
                    self.prepare()
                if self._join():
                    self._work()
            finally:
                self.children.close()
                self.report.stopped(self.progress)
        assert self.progress.reason is not None  # noqa: S101
        return self.progress.reason

    def _join(self) -> bool:
        """Join the store's workers. Return False if the worker was stopped before."""
        pause = FIRST_PAUSE
        while self.progress.reason is None:
            try:
                self.store.join()
            except QueueUnavailable as error:
                if pause == FIRST_PAUSE:
                    logger.warning("%s Waiting until it answers.", error)
                self.report.flush()
                self.life.waits()
                self._hear(self.events.pause(pause))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return True
        return False

    def _work(self) -> None:
        self.buffer.notices.append(WorkerStarted())
        try:
            while self.progress.reason is None or not self._has_settled_down():
                self._turn(clock.now())
        except Exception as error:
            logger.critical("The worker cannot go on: %s: %s", type(error).__name__, error)
            self._give_everything_back()
            raise
        finally:
            self._leave()

    def _turn(self, now: float) -> None:
        if self.store.session.lost_hold():
            self.children.kill_all(facts.HOLD_LOST)
        self._apply(self.exchanger.arrived(now), now)
        for timer in self.schedule.due(now, store=self.exchanger.awaited is None):
            self.schedule.set(timer, self._do(timer, now))
        self._start_children(now)
        self._hand_out(now)
        # Lines before stored ends: a run that is repeated after a kill in between is explained.
        self.report.flush()
        room, queues = self._room(now), self.maintenance.open_queues()
        self._apply(self.exchanger.step(now, room, queues, busy=self.children.busy), now)
        self.report.flush()
        self._hear(self._sleep(now))

    def _do(self, timer: Timer, now: float) -> float:
        """Do what is due. Return when it is due again."""
        match timer:
            case Timer.RENEW_LEASE:
                self.children.cancel(self.store.renew(self._held()))
                self.children.lease_until(self.store.lease.ends_at)
                return self.store.renew_at
            case Timer.TAKE_IN:
                self.exchanger.take_in(self.store.unacknowledged(self._held()))
                return self.store.look_at
            case Timer.WATCH:
                return self._watch(now)
            case Timer.SAMPLE_MEMORY:
                self.children.kill_larger_than(self.options.memory_kill << 20)
                return now + SAMPLE_MEMORY_EVERY
            case Timer.SHOW:
                return self.store.show(self.children.activity(now))
            case Timer.MAX_TIME:
                self.stop(StopReason.MAX_TIME)
                return NEVER
        done = self.maintenance.do(timer, now, accepting=self.progress.accepting)
        self._apply_maintenance(done.facts)
        return done.again

    def _watch(self, now: float) -> float:
        """Look after jobs that keep others waiting. The warden ends those that last too long."""
        self.children.kill_silent(now)
        self.exchanger.store_progress(self.children.processes, now)
        self._apply(self.children.take_back_behind_long_jobs(now), now)
        self.report.still_running(self.children.processes, now)
        self.life.show(self.progress)
        if self.progress.end_at is not None and now >= self.progress.end_at:
            self.store.be_brief(LAST_WORDS / 2)
        return now + (WATCH_EVERY if self.children.busy else WATCH_IDLE_EVERY)

    def _held(self) -> list[Reservation]:
        """Return all that this worker has reserved and the store has not settled."""
        return [*self.children.held(), *self.buffer.jobs, *self.exchanger.finish.waiting]

    def _apply_maintenance(self, news: Iterable[maintenance.Fact]) -> None:
        for fact in news:
            match fact:
                case maintenance.PauseChanged(_, paused):
                    self.report.event("info", str(fact))
                    if not paused:
                        self.exchanger.look_now()
                case maintenance.RestartRequested():
                    self.stop(StopReason.RESTART)
                case maintenance.StopRequested(ids):
                    self._apply(self.children.stop(ids), clock.now())
                    self._ended(self.exchanger.stopped(self.buffer.take(ids)))
                case maintenance.JobsMayWait():
                    self.exchanger.look_now()
                case maintenance.Recovered(job, outcome):
                    self._ended([End(job, outcome)])
                case maintenance.ForChild(notice):
                    self.buffer.add_notice(notice)

    def _apply(self, news: Iterable[facts.Fact | exchange.Fact], now: float) -> None:  # noqa: C901 - one case a fact
        """Apply what children and the store have reported, in order."""
        for fact in news:
            match fact:
                case facts.Ended():
                    self._note_ends(fact, now)
                case facts.Delivered(notice):
                    self.buffer.notices.extend(after(notice))
                case facts.Unbegun(jobs, notices):
                    self.buffer.put_first(jobs, notices)
                case facts.LongRunning(name, seconds):
                    self.buffer.windows.observe(name, seconds, now)
                case exchange.Got(jobs):
                    self.buffer.add(jobs)
                    self._hand_out(now)
                case exchange.NothingThere():
                    self._stop_if_empty()
                case exchange.Requeued(delay):
                    self.schedule.set_at_most(Timer.PROMOTE, clock.now() + delay + 0.001)
                case exchange.Stored(ends):
                    self.report.jobs_ended(ends)
                    self.buffer.notices.extend(notices_of(ends))
                case exchange.Followed():
                    self.exchanger.look_now()
                case exchange.CameBack():
                    self.report.event("info", "The store answers again.")

    def _note_ends(self, ended: facts.Ended, now: float) -> None:
        """Note ended attempts: their settlements and lines, and whether the worker stops now."""
        options, progress = self.options, self.progress
        for job, outcome, _ in ended.ends:
            self.buffer.windows.observe(job.name, outcome.duration, now)
        progress.done += len(ended.ends)
        self._ended(ended.ends)
        if options.rest:
            progress.rest_until = now + options.rest
        if options.max_jobs and progress.done >= options.max_jobs:
            self.stop(StopReason.ONCE if options.once else StopReason.MAX_JOBS)
        if ended.memory:
            last = ended.ends[-1].reservation.name
            logger.warning(_GREW, ended.memory >> 20, last, options.memory)
            self.stop(StopReason.MEMORY)

    def _ended(self, ends: list[End]) -> None:
        self.exchanger.add(ends)
        self.report.attempts_ended(ends)

    # -- handing out ---------------------------------------------------------------------------

    def _start_children(self, now: float) -> None:
        """Replace exited children while the lease lasts; at the end only for a notice."""
        if (self.progress.reason is None or self.buffer.notices) and now < self.store.lease.ends_at:
            self.children.start_missing(now)

    def _hand_out(self, now: float) -> None:
        """Give children what is buffered; what none takes goes back to the store."""
        self.children.lease_until(self.store.lease.ends_at)
        able = self.children.able()
        self.children.send()
        self.buffer.hand_out_notices(able, now)
        if self.buffer.jobs:
            if self.progress.may_begin(now):
                self.buffer.hand_out_jobs(able, self.buffer.capacity(now))
                self.schedule.set_at_most(Timer.WATCH, clock.now() + WATCH_EVERY)
            self._give_back()

    def _give_back(self) -> None:
        if rest := self.buffer.drain():
            self.exchanger.give_back(rest)

    def _room(self, now: float) -> int:
        """Return the number of jobs to reserve now."""
        if not self.progress.may_begin(now):
            return 0
        room = self.buffer.room(self.children.able(), self.buffer.capacity(now))
        if self.options.max_jobs:
            room = min(room, self.options.max_jobs - self.exchanger.begun)
        return max(0, room)

    # -- sleeping ------------------------------------------------------------------------------

    def _sleep(self, now: float) -> list[object]:
        """Return what happens before the next timer is due."""
        wakeup, room = self.store.wakeup, self._room(now)
        if (answer := self.exchanger.awaited) is not None:
            self._set_timers(now, room)
            return self.events.wait_for_answer(answer.fileno(), self.schedule.next_at(store=False))
        if self.store.may_ask():
            wakeup.prepare(now, idle=room > 0)
        if wakeup.was_woken():
            self.exchanger.look_now()
        self._set_timers(now, room)
        polled = wakeup if self.progress.accepting else None
        ready = self.events.wait(now, self.schedule.next_at(store=True), polled)
        if wakeup in ready:
            self.exchanger.look_now()
        return ready

    def _set_timers(self, now: float, room: int) -> None:
        """Set the timers that follow from what the parts know."""
        store, progress, schedule = self.store, self.progress, self.schedule
        schedule.set(Timer.RENEW_LEASE, store.renew_at)
        schedule.set(Timer.TAKE_IN, store.look_at)
        if store.session.has_orphans:
            schedule.set(Timer.RECOVER, max(now, store.opens_at))
        exchange_at = self.exchanger.due_at(now, room, busy=self.children.busy)
        waits = self.buffer.has_work_for(self.children.able(), now)
        schedule.set(Timer.EXCHANGE, now if waits else exchange_at)
        goes_on = progress.reason is None and now < store.lease.ends_at
        schedule.set(Timer.START_CHILDREN, self.children.start_at if goes_on else NEVER)
        schedule.set(Timer.REST, progress.rest_until if progress.rest_until > now else NEVER)
        schedule.set(Timer.END, progress.next_end(clock.now()))
        schedule.set(Timer.LEASE, NEVER if self.exchanger.awaited is None else store.lease.ends_at)

    def _hear(self, ready: list[object]) -> None:
        for number in self.events.signals(ready):
            self._signalled(number)
        if ready and (news := self.children.poll(ready)):
            self._apply(news, clock.now())
            if self.options.stops_when_empty and not self.children.busy:
                self.exchanger.look_now()

    # -- stopping ------------------------------------------------------------------------------

    def stop(self, reason: StopReason) -> None:
        """Reserve nothing more; running jobs may end within the grace."""
        if self.progress.reason is not None:
            return
        self.progress.reason = reason
        self.life.show(self.progress)
        # The warden may have heard a signal some time before we did.
        self.progress.end_at = end = self.children.page.stop_at or clock.now() + self.options.grace
        if reason is not StopReason.SIGNAL:  # the warden has heard those itself
            self.children.page.stop_at = end
        self.store.be_brief(PATIENCE_AT_END, end)
        self.buffer.notices.append(WorkerStopping(reason.value))
        self._apply(self.children.take_back(), clock.now())
        self._give_back()

    def _signalled(self, number: signal.Signals) -> None:
        if number in STOP:
            if self.progress.reason is None:
                self.report.event("info", goodbye(number, self.children.running()))
                self.stop(StopReason.SIGNAL)
            else:
                self.progress.end_at = clock.now()
                self.store.be_brief(LAST_WORDS / 2, self.progress.end_at)
                self.children.kill_all(f"It was stopped by a second {number.name}.")
        elif said := self.progress.pause_by(number):
            self.report.event("info", said)
        elif number is signal.SIGCHLD:
            self.children.wardens.reap_orphans()

    def _stop_if_empty(self) -> None:
        """Stop with ``--once`` or ``--stop-when-empty`` when the store had nothing, if nothing that
        the worker knows of can put something in line.
        """
        if not self.options.stops_when_empty or self.children.busy:
            return
        if not self._has_settled_everything:
            self.exchanger.look_now()  # what has ended by now may put something in line
        elif self.buffer.notices and not self.options.once:
            return
        elif recovered := self.maintenance.recover_long_dead():
            self._apply_maintenance(recovered)
            self.exchanger.look_now()
        else:
            self.stop(StopReason.ONCE if self.options.once else StopReason.EMPTY)

    @property
    def _has_settled_everything(self) -> bool:
        return self.exchanger.is_done and not self.buffer.jobs

    def _has_settled_down(self) -> bool:
        """Return whether a stopping worker has nothing left to do, or no time for it."""
        now, end = clock.now(), self.progress.end_at
        if end is not None and now >= end:
            self.buffer.notices.clear()
            if now >= end + LAST_WORDS:
                return True
        if self.children.busy or self.buffer.notices:
            return False
        # Where the store stays away, others take over what it does not know.
        return self._has_settled_everything or now > self.store.lease.ends_at

    def _give_everything_back(self) -> None:
        """After an error of our own, hand back running jobs as interrupted, the rest as it was."""
        self.children.kill_all("Its worker ended because of an error.")
        deadline = clock.now() + LAST_WORDS
        while self.children.busy and clock.now() < deadline:
            self._apply(self.children.poll([self.children.wardens.link]), clock.now())
            time.sleep(0.01)
        self._give_back()
        self.exchanger.store_what_it_takes()
        self.report.jobs_ended(self.exchanger.finish.take_stored())

    def _leave(self) -> None:
        """Leave the store, unless something is still held: then the lease brings it back."""
        self.exchanger.warn_of_unstored()
        holds = any(self.children.held()) or not self._has_settled_everything
        self.store.leave(holds_nothing=not holds)
