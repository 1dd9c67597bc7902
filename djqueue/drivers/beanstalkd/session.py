"""What a worker holds in beanstalkd: how it reserves, renews and ends it.

A reservation belongs to the worker's socket, and is lost with it. Its end takes two steps, each
over many jobs at once: a touch, and only what was touched is then deleted or released, because
beanstalkd lets anybody delete a job that nobody has reserved. What was reserved or touched a moment
ago on this very connection needs no other touch: a short job is deleted in the request that
reserves the next.

Attempts, interruptions, history and fencing numbers are in guard rows, since a body cannot change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from djqueue.drivers.base import Exchange, Reservation, Settlement, Verdict
from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.reserved import (
    Holding,
    Reserved,
    another_copy,
    put_all,
    release,
    reservation_of,
    reserved_in,
    seconds,
)
from djqueue.drivers.beanstalkd.taking import Taking
from djqueue.drivers.beanstalkd.wakeup import Called, WaitingConnection, arm
from djqueue.drivers.guard import Guard, GuardState
from djqueue.errors import QueueUnavailable

MOST_EAGER = 400
MOST_REMEMBERED = 10_000
FRESH = 0.25
"""The part of a reservation's time in which it is certain to be ours still."""
SHORTEST = 10.0
"""Seconds that every reservation of a job of ours holds, whoever pushed it."""


class Holdings:
    """The reservations of one worker, on its connection."""

    def __init__(self, connection: Client, guard: Guard, hold_for: int) -> None:
        self._client = connection
        self._guard = guard
        self._taking = Taking(connection, guard)
        self._hold_for = hold_for
        self._fresh_for = FRESH * min(hold_for, SHORTEST)
        self._held: dict[int, Holding] = {}
        """What was handed out and not settled, by beanstalkd's number."""
        self._told: set[int] = set()
        """Those of them whose deletion was sent, and whose answer did not arrive."""
        self._unwanted: list[Reserved] = []
        """What was reserved, could not be handed out, and goes back."""
        self._over: set[tuple[int, int]] = set()
        """Handles of reservations whose settlements were carried out by exchanges whose caller has
        not been told."""
        self._removed: list[Holding] = []
        """Jobs that are over, and whose rows are still there."""
        self._opening = 0
        """The connection that `lost_hold` saw last, or 0."""
        self._holds_some = False
        """Something was handed out since `lost_hold` saw another connection."""
        self.found_over = False
        """The last exchange came upon jobs that are over, and removed them."""
        self.orphans: list[Reservation] = []
        """What dead workers left, taken over and not handed out yet."""
        self.waiting: WaitingConnection | None = None
        self._eager = 1
        """How many jobs the next exchange asks for at once."""

    @property
    def shortest(self) -> int:
        """Seconds for which beanstalkd holds whatever of what is held it holds for the shortest
        time: each job brings its own from the process that pushed it.
        """
        times = (holding.body.hold_for or self._hold_for for holding in self._held.values())
        return min(times, default=self._hold_for)

    def told(self) -> None:
        """The caller knows what the exchanges so far have done."""
        self._over.clear()

    def lost_hold(self) -> bool:
        """As `Driver.lost_hold`."""
        if self._opening == self._client.openings and self._client.is_open:
            return False
        self._opening = self._client.openings if self._client.is_open else 0
        lost, self._holds_some = self._holds_some, False
        return lost

    def forget(self) -> None:
        """In a child process: nothing of this is ours."""
        self._held = {}
        self.orphans = []
        if self.waiting is not None:
            self.waiting.forget()
            self.waiting = None

    # -- the exchange --------------------------------------------------------------------------

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        """As `Driver.exchange`."""
        self.found_over = False
        self._client.ensure_open()
        self._give_back()
        mine, lost = self._ours(settlements)
        tubes = list(queues) if limit > 0 else []
        if self.waiting is not None and tubes:
            self.waiting.follow(queues)
        called = self.waiting.called(tubes) if self.waiting is not None and tubes else []
        first = [each for each in called if each.tube == tubes[0]][:limit]
        asked = min(self._eager, limit - len(first)) if tubes else 0
        asked_at, opening = seconds(), self._client.openings
        fresh = self._fresh(mine, asked_at)
        others = {job: s for job, s in mine.items() if job not in set(fresh)}
        self._told.update(fresh)
        ending = [client.delete(job) for job in fresh] + [client.touch(job) for job in others]
        reserving = [client.reserve_job(e.job) for e in first] + [client.RESERVE_NOW] * asked
        replies = self._client.ask(ending + reserving, watch=tubes[:1] or None, opening=opening)
        reserved = reserved_in(replies[len(mine) :], tubes[0] if tubes else "")
        try:
            lost |= self._answered(list(zip([*fresh, *others], replies, strict=False)), mine)
            if others:
                lost |= self._settle({job: s for job, s in others.items() if job in self._held})
            if tubes:
                rest = [each for each in called if each.tube != tubes[0]]
                reserved += self._reserve_rest(reserved, rest, tubes, limit)
            if self.waiting is not None:
                self.waiting.look_at(self._client)
            return Exchange(lost, self._hand_out(reserved, asked_at))
        except QueueUnavailable:
            self._unwanted += [each for each in reserved if each.job not in self._held]
            if self._client.is_open and not self._client.is_silent:
                self._give_back()
            raise

    def _ours(self, settlements: Sequence[Settlement]) -> tuple[dict[int, Settlement], set[str]]:
        """Settlements of what this connection holds, and the ids of what is lost."""
        mine: dict[int, Settlement] = {}
        lost: set[str] = set()
        gone: dict[int, Settlement] = {}
        for settlement in settlements:
            job = self._holds(settlement.reservation)
            if job is None:
                if settlement.reservation.handle not in self._over:
                    lost.add(settlement.reservation.id)
            elif self._held[job].opening != self._client.openings:
                gone[job] = settlement
            else:
                mine[job] = settlement
        return mine, lost | self._gone(gone)

    def _holds(self, reservation: Reservation) -> int | None:
        job, _ = reservation.handle
        holding = self._held.get(job)
        same = holding is not None and holding.reservation.handle == reservation.handle
        return job if same else None

    def _fresh(self, mine: Mapping[int, Settlement], now: float) -> list[int]:
        """Those that may be deleted without a touch."""
        over = [job for job, s in mine.items() if s.verdict is Verdict.REMOVE]
        return [job for job in over if self._held[job].is_surely_held(now, self._fresh_for)]

    def _answered(
        self, replies: Sequence[tuple[int, Reply]], mine: Mapping[int, Settlement]
    ) -> set[str]:
        """Take note of what was deleted or touched; the ids of what is lost."""
        self._remove([job for job, reply in replies if reply.word == "DELETED"])
        return self._gone({job: mine[job] for job, reply in replies if reply.word == "NOT_FOUND"})

    def _settled(self, jobs: Iterable[int]) -> list[Holding]:
        """They are held no more, and their settlements are carried out: that is remembered, since
        an exchange that breaks off later tells its caller nothing.
        """
        holdings = [self._held.pop(job) for job in jobs]
        self._over.update(holding.reservation.handle for holding in holdings)
        return holdings

    def _remove(self, jobs: Iterable[int]) -> None:
        """They have left the store. A row that could not be removed does no harm: it is tried
        again, and gets old.
        """
        self._told.difference_update(jobs)
        self._removed += self._settled(jobs)
        if self._removed:
            copied = [each.held for each in self._removed if each.may_have_copies]
            try:
                self._guard.delete([e.held for e in self._removed if not e.may_have_copies])
                if copied:
                    self._guard.end(copied)
            except QueueUnavailable:
                del self._removed[:-MOST_REMEMBERED]
            else:
                self._removed.clear()

    def _gone(self, settlements: Mapping[int, Settlement]) -> set[str]:
        """This connection does not hold these jobs any more; the ids of those that are lost to us.

        The row decides. A deletion that was sent may be carried out at any moment, whatever a look
        says before: a job whose row we can end is over, and whoever is given it deletes it. The
        same holds for a job that the server no longer has, and that nobody has taken over.
        """
        if not settlements:
            return set()
        ending = {job for job, s in settlements.items() if s.verdict is Verdict.REMOVE}
        told = sorted(ending & self._told)
        refused = self._guard.end([self._held[job].held for job in told]) if told else set()
        lost = {holding.reservation.id for holding in self._settled(told)} & refused
        self._told.difference_update(told)
        vanished, others = self._looked_for([job for job in settlements if job not in told])
        lost |= {self._held[job].reservation.id for job in vanished if job not in ending}
        self._remove(vanished)
        return lost | self._give_up(others)

    def _looked_for(self, jobs: Sequence[int]) -> tuple[list[int], list[int]]:
        """Those of `jobs` that the server no longer has although they are ours, and the others."""
        if not jobs:
            return [], []
        ids = {job: self._held[job].reservation.id for job in jobs}
        absent = [job for job in jobs if not self._taking.is_there(job, ids[job])]
        ours = self._guard.still_held([self._held[job].held for job in absent]) if absent else set()
        vanished = [job for job in absent if ids[job] in ours]
        return vanished, [job for job in jobs if job not in vanished]

    def _give_up(self, jobs: Iterable[int]) -> set[str]:
        """Other workers have them, or will; their ids."""
        lost = set()
        for job in jobs:
            self._told.discard(job)
            lost.add(self._held.pop(job).reservation.id)
        return lost

    # -- settling ------------------------------------------------------------------------------

    def _settle(self, mine: dict[int, Settlement]) -> set[str]:
        """Delete or put back what has just been touched; the ids of what is lost."""
        kept = {job: s for job, s in mine.items() if s.verdict is not Verdict.REMOVE}
        lost = self._guard.put_back([(s, self._held[job].held.number) for job, s in kept.items()])
        anew = self._put_anew({job: s for job, s in kept.items() if s.reservation.id not in lost})
        commands = []
        for job, settlement in mine.items():
            if job not in kept or job in anew:
                commands.append(client.delete(job))
                self._told.add(job)
                continue
            released = (
                settlement.verdict is Verdict.RELEASE and settlement.reservation.id not in lost
            )
            delay = message.whole_seconds(settlement.delay) if released else 0
            urgency = message.urgency(self._held[job].body.priority)
            commands.append(client.release(job, urgency, delay))
        replies = self._client.ask(commands, opening=self._client.openings)
        answered = list(zip(mine, replies, strict=True))
        # A second copy is there already: the first one may go as it likes.
        missing = {job for job, reply in answered if reply.word == "NOT_FOUND"} - anew
        self._remove([job for job in mine if job not in kept and job not in missing])
        lost |= self._gone({job: mine[job] for job in missing})
        self._told.difference_update(kept)
        self._settled([job for job in kept if job in self._held])
        return lost

    def _put_anew(self, settlements: dict[int, Settlement]) -> set[int]:
        """Put a second copy of what was released, which the first then gives way to: beanstalkd
        keeps the place of a job in its tube, and a job that is tried again goes to the end.

        The row says that the two are one push. What the server refuses keeps its place.
        """
        tubes: dict[str, dict[int, bytes]] = defaultdict(dict)
        for job, settlement in settlements.items():
            tried = settlement.verdict is Verdict.RELEASE and settlement.charged
            if tried and not (job_body := self._held[job].body).foreign:
                command = another_copy(job_body, settlement.delay, self._hold_for)
                tubes[settlement.reservation.queue][job] = command
        put: set[int] = set()
        for tube, commands in tubes.items():
            put |= put_all(self._client, tube, commands)
        return put

    # -- reserving -----------------------------------------------------------------------------

    def _reserve_rest(
        self,
        first: Sequence[Reserved],
        called: Sequence[Called],
        tubes: Sequence[str],
        limit: int,
        *,
        again: bool = False,
    ) -> list[Reserved]:
        """Up to `limit` beside `first`, tube after tube, as long as each gives all that it is asked
        for.

        A vain request costs the server some work, so few are made where few were answered.
        """
        more: list[Reserved] = []
        try:
            for tube in tubes:
                asked, got = 0, 0
                if tube == tubes[0] and not again:
                    asked, got = min(self._eager, limit), len(first)
                ids = [client.reserve_job(each.job) for each in called if each.tube == tube]
                while (left := limit - len(first) - len(more)) and (got >= asked or ids):
                    asked = min(left, max(asked * 8, 1))
                    commands = (ids + [client.RESERVE_NOW] * asked)[:left]
                    found = reserved_in(self._client.ask(commands, watch=[tube]), tube)
                    ids, got = [], len(found)
                    more += found
        except QueueUnavailable:
            self._unwanted += more
            raise
        self._eager = max(1, min(len(first) + len(more), MOST_EAGER))
        if self.waiting is None or len(first) + len(more) == limit:
            return more
        if not (first or more or again) and (called := self.waiting.called(tubes)):
            # It had what we looked for.
            return self._reserve_rest((), called, tubes, limit, again=True)
        arm(self.waiting)
        return more

    def _hand_out(self, reserved: Sequence[Reserved], since: float) -> list[Reservation]:
        """Put on record what was reserved; the reservations for the worker. Nothing is held
        before the last answer of a server is there, so that none is held and forgotten.
        """
        if not reserved:
            return []
        ours = {h.held.id: h.held.number for h in self._held.values()}
        taken = self._taking.take(reserved, ours)
        self.found_over = self._taking.put_away(reserved, taken)
        opening = self._client.openings
        if not self._holds_some:
            self._opening, self._holds_some = opening, True
        reservations: list[Reservation] = []
        for job, row in zip(reserved, taken, strict=True):
            if row.state in (GuardState.READY, GuardState.ORPHANED):
                reservation = reservation_of(job, row)
                self._held[job.job] = Holding(reservation, job.body, since, opening)
                ready = row.state is GuardState.READY
                (reservations if ready else self.orphans).append(reservation)
        return reservations

    def _give_back(self) -> None:
        """Put back what was reserved for nobody: its answer came late, or something broke."""
        if self._client.is_silent:
            self._client.ask(())  # what it owes us comes first
        late, self._client.late = self._client.late, []
        unwanted, self._unwanted = self._unwanted, []
        commands = [release(each, 0) for each in unwanted]
        commands += [
            release(Reserved(r.number, "", message.decode(r.data, "", r.number)), 0) for r in late
        ]
        if commands:
            with suppress(QueueUnavailable):  # the server gives them back by itself, later
                self._client.ask(commands)

    # -- holding -------------------------------------------------------------------------------

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """As `Driver.extend`."""
        self._client.ensure_open()
        self._give_back()
        lost: set[str] = set()
        jobs: list[int] = []
        for reservation in [*reservations, *self.orphans]:
            job = self._holds(reservation)
            if job is None:
                lost.add(reservation.id)
            else:
                jobs.append(job)
        asked, opening = seconds(), self._client.openings
        gone = [job for job in jobs if self._held[job].opening != opening]
        kept = [job for job in jobs if self._held[job].opening == opening]
        replies = self._client.ask([client.touch(job) for job in kept], opening=opening)
        for job, reply in zip(kept, replies, strict=True):
            if reply.word == "TOUCHED":
                self._held[job] = self._held[job]._replace(since=asked)
            else:
                gone.append(job)
        # Whether what was told to be deleted is over is for the settlement to find out, and what
        # the server has lost nobody else can run.
        _vanished, others = self._looked_for([job for job in gone if job not in self._told])
        lost |= self._give_up(others)
        self.orphans = [orphan for orphan in self.orphans if orphan.id not in lost]
        return lost

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """As `Driver.unacknowledged`."""
        handles = {reservation.handle for reservation in (*known, *self.orphans)}
        held = [holding.reservation for holding in self._held.values()]
        return [reservation for reservation in held if reservation.handle not in handles]
