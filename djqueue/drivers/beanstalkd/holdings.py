"""What a worker holds in beanstalkd: how it reserves, renews and ends it.

A reservation belongs to the worker's socket. Its end takes two steps, each over many jobs at once:
a touch, and only what was touched is then deleted or released, because beanstalkd lets anybody
delete a job that nobody has reserved. What was reserved or touched a moment ago on this very
connection needs no other touch: a short job is deleted in the request that reserves the next.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from djqueue.drivers.base import Exchange, Reservation, Settlement, Verdict
from djqueue.drivers.beanstalkd import body, client
from djqueue.drivers.beanstalkd.answers import failed, reservation_of, reserved_in
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.ledger import Holding, Ledger, Reserved
from djqueue.drivers.beanstalkd.wakeup import WaitingConnection
from djqueue.drivers.guard import Standing
from djqueue.errors import QueueUnavailable

MOST_EAGER = 400
FRESH = 0.25
"""The part of a reservation's time in which it is certain to be ours still."""
SHORTEST = 10.0
"""Seconds that every reservation of a job of ours holds, whoever pushed it."""
BUSY_FOR = 1
"""Seconds after which a job that somebody else seems to hold is looked at again."""


class Holdings:
    """The reservations of one worker, on its connection."""

    def __init__(self, connection: Client, ledger: Ledger, hold_for: float) -> None:
        self._client = connection
        self._ledger = ledger
        self._fresh_for = FRESH * min(hold_for, SHORTEST)
        self._held: dict[int, Holding] = {}
        """What was handed out and not settled, by beanstalkd's number. Kept when the connection
        breaks: what nobody has taken since is reserved again."""
        self.orphans: list[Reservation] = []
        """What dead workers left, taken over and not handed out yet."""
        self.waiting: WaitingConnection | None = None
        self._eager = 1
        """How many jobs the next exchange asks for at once."""

    def forget(self) -> None:
        """In a child process: nothing of this is ours."""
        self._held = {}
        self.orphans = []
        if self.waiting is not None:
            self.waiting.forget()
            self.waiting = None

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> Exchange:
        """As `Driver.exchange`."""
        mine, lost = self._ours(settlements)
        if self.waiting is not None and limit > 0:
            self.waiting.follow(queues)
        called = self.waiting.called(queues)[:limit] if self.waiting and queues else []
        tubes = list(queues) if limit > 0 else []
        asked = min(self._eager, limit - len(called)) if tubes else 0
        self._client.ensure_open()
        now, opening = time.monotonic(), self._client.openings
        fresh = [job for job, settlement in mine.items() if self._is_fresh(job, settlement, now)]
        others = {job: s for job, s in mine.items() if job not in set(fresh)}
        replies = self._client.ask(
            [client.delete(job) for job in fresh]
            + [client.touch(job) for job in others]
            + [client.reserve_job(each.job) for each in called]
            + [client.RESERVE_NOW] * asked,
            watch=tubes[:1] or None,
            opening=opening,
        )
        reserved = reserved_in(replies[len(mine) :], called, tubes)
        try:
            lost |= self._removed(fresh, replies)
            touched = zip(others, replies[len(fresh) :], strict=False)
            gone = [job for job, reply in touched if failed(reply)]
            regained = self._regain(gone, {each.job for each in reserved})
            lost |= self._give_up(set(gone) - regained)
            reserved = [each for each in reserved if each.job not in regained]
            if others:
                lost |= self._settle({job: s for job, s in others.items() if job in self._held})
            if tubes:
                reserved += self._reserve_rest(reserved, asked, tubes, limit)
            return Exchange(lost, self._hand_out(reserved, now))
        except QueueUnavailable:
            self._let_go(reserved)
            raise

    def _is_fresh(self, job: int, settlement: Settlement, now: float) -> bool:
        """Whether it may be deleted untouched. What another program has put may end sooner."""
        held = self._held[job]
        return (
            settlement.verdict is Verdict.REMOVE
            and held.opening == self._client.openings
            and now - held.since < self._fresh_for
            and held.reservation.name != ""
        )

    def _removed(self, jobs: Sequence[int], replies: Sequence[Reply]) -> set[str]:
        """They were deleted, if their `replies` say so; the ids that were lost."""
        lost = {
            self._held[job].id
            for job, reply in zip(jobs, replies, strict=False)
            if reply.word != "DELETED"
        }
        self._ledger.removed([self._held.pop(job) for job in jobs])
        return lost

    def _ours(self, settlements: Sequence[Settlement]) -> tuple[dict[int, Settlement], set[str]]:
        """Settlements of what this driver holds, and the ids of the others."""
        mine: dict[int, Settlement] = {}
        lost: set[str] = set()
        for settlement in settlements:
            job = self._holds(settlement.reservation)
            if job is None:
                lost.add(settlement.reservation.id)
            else:
                mine[job] = settlement
        return mine, lost

    def _holds(self, reservation: Reservation) -> int | None:
        job, number = reservation.handle
        holding = self._held.get(job)
        return job if holding is not None and holding.number == number else None

    def _regain(self, jobs: Sequence[int], reserved: AbstractSet[int] = frozenset()) -> set[int]:
        """Reserve anew what beanstalkd has given up and nobody has taken since.

        `reserved` has just been reserved: some of it may be what is to be regained.
        """
        holdings = {job: self._held[job] for job in jobs}
        ours = self._ledger.ours(list(holdings.values())) if jobs else set()
        wanted = [job for job, holding in holdings.items() if holding.id in ours]
        if not wanted:
            return set()
        asked = [job for job in wanted if job not in reserved]
        replies = self._client.ask([client.reserve_job(job) for job in asked])
        back = [job for job in wanted if job in reserved]
        back += [job for job, reply in zip(asked, replies, strict=True) if not failed(reply)]
        # Only now nobody can take it any more; somebody may have, between the two.
        ours = self._ledger.ours([holdings[job] for job in back])
        foreign = [job for job in back if holdings[job].id not in ours and job not in reserved]
        self._put_back_as_it_was(foreign)
        regained = {job for job in back if holdings[job].id in ours}
        self._renewed(regained, time.monotonic() - self._fresh_for)
        return regained

    def _renewed(self, jobs: Iterable[int], since: float) -> None:
        for job in jobs:
            again = self._held[job]._replace(since=since, opening=self._client.openings)
            self._held[job] = again

    def _put_back_as_it_was(self, jobs: Sequence[int]) -> None:
        stats = self._client.ask([client.stats_job(job) for job in jobs])
        known = [(job, reply.pairs()) for job, reply in zip(jobs, stats, strict=True)]
        self._client.ask(
            [
                client.release(job, int(pairs["pri"]), int(pairs["delay"]))
                for job, pairs in known
                if pairs
            ]
        )

    def _give_up(self, jobs: Iterable[int]) -> set[str]:
        return {self._held.pop(job).id for job in jobs}

    def _settle(self, mine: dict[int, Settlement]) -> set[str]:
        """Delete or release what has just been touched."""
        kept = {job: s for job, s in mine.items() if s.verdict is not Verdict.REMOVE}
        lost = self._ledger.put_back([(s, self._held[job]) for job, s in kept.items()])
        commands = []
        for job, settlement in mine.items():
            holding = self._held[job]
            if job not in kept:
                commands.append(client.delete(job))
            elif holding.id in lost:  # its row knows better: whoever reserves it next will see
                commands.append(client.release(job, holding.urgency, 0))
            else:
                delay = body.whole_seconds(settlement.delay)
                delay = delay if settlement.verdict is Verdict.RELEASE else 0
                urgency = self._ledger.urgency(settlement, holding)
                commands.append(client.release(job, urgency, delay))
        replies = self._client.ask(commands, opening=self._client.openings)
        lost |= {
            self._held[job].id for job, reply in zip(mine, replies, strict=True) if failed(reply)
        }
        holdings = {job: self._held.pop(job) for job in mine}
        self._ledger.removed([h for job, h in holdings.items() if job not in kept])
        return lost

    def _reserve_rest(
        self, reserved: Sequence[Reserved], asked: int, tubes: Sequence[str], limit: int
    ) -> list[Reserved]:
        """Up to `limit`, tube after tube, as long as each gives all that it is asked for.

        A vain request costs the server some work, so few are made where few were answered.
        """
        more: list[Reserved] = []
        left = limit - len(reserved)
        got = sum(each.tube == tubes[0] for each in reserved)
        for tube in tubes:
            if tube != tubes[0]:
                asked = got = 0
            while left and got >= asked:
                asked = min(left, max(asked * 8, 1))
                found = reserved_in(
                    self._client.ask([client.RESERVE_NOW] * asked, watch=[tube]), (), [tube]
                )
                got = len(found)
                more += found
                left -= got
        self._eager = max(1, min(len(reserved) + len(more), MOST_EAGER))
        if self.waiting is not None and left:
            self.waiting.arm()
        return more

    def _hand_out(self, reserved: Sequence[Reserved], since: float) -> list[Reservation]:
        """Put on record what was reserved; the reservations for the worker. Nothing is held
        before the last answer of a server is there, so that none is held and forgotten.
        """
        if not reserved:
            return []
        ours = {holding.id: holding.number for holding in self._held.values()}
        asked = self._ledger.questions(reserved)
        taken = self._ledger.take(reserved, self._client.ask(asked) if asked else (), ours)
        self._put_away(reserved, [guarded.standing for guarded, _ in taken])
        opening = self._client.openings
        reservations: list[Reservation] = []
        for job, (guarded, urgency) in zip(reserved, taken, strict=True):
            if guarded.standing in (Standing.READY, Standing.ORPHANED):
                reservation = reservation_of(job, guarded)
                self._held[job.job] = Holding(reservation, urgency, since, opening)
                ready = guarded.standing is Standing.READY
                (reservations if ready else self.orphans).append(reservation)
        return reservations

    def _put_away(self, reserved: Sequence[Reserved], standings: Sequence[Standing]) -> None:
        """What was reserved and is not to run: it is over, or somebody is still at it."""
        over = [e for e, s in zip(reserved, standings, strict=True) if s is Standing.OVER]
        busy = [e for e, s in zip(reserved, standings, strict=True) if s is Standing.BUSY]
        if over or busy:
            self._client.ask([client.delete(each.job) for each in over])
            self._release(busy, BUSY_FOR)

    def _release(self, reserved: Sequence[Reserved], delay: int) -> None:
        stats = self._client.ask([client.stats_job(each.job) for each in reserved])
        urgencies = [int(reply.pairs().get("pri", 0)) for reply in stats]
        jobs = zip(reserved, urgencies, strict=True)
        self._client.ask([client.release(each.job, urgency, delay) for each, urgency in jobs])

    def _let_go(self, reserved: Sequence[Reserved]) -> None:
        """Something broke: what was reserved and not handed out goes back."""
        if reserved and self._client.is_open:
            with suppress(QueueUnavailable):
                self._release([each for each in reserved if each.job not in self._held], 0)

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """As `Driver.extend`."""
        lost: set[str] = set()
        jobs: list[int] = []
        for reservation in [*reservations, *self.orphans]:
            job = self._holds(reservation)
            if job is None:
                lost.add(reservation.id)
            else:
                jobs.append(job)
        asked = time.monotonic()
        replies = self._client.ask([client.touch(job) for job in jobs])
        gone = [job for job, reply in zip(jobs, replies, strict=True) if failed(reply)]
        self._renewed(set(jobs) - set(gone), asked)
        lost |= self._give_up(set(gone) - self._regain(gone))
        self.orphans = [orphan for orphan in self.orphans if orphan.id not in lost]
        return lost

    def strays(self, known: Sequence[Reservation]) -> list[Reservation]:
        """As `Driver.strays`."""
        handles = {reservation.handle for reservation in (*known, *self.orphans)}
        held = [holding.reservation for holding in self._held.values()]
        return [reservation for reservation in held if reservation.handle not in handles]
