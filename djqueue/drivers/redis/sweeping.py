"""What falls due, and what others left behind: looked for by the clock, not on the hot path."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from djqueue.drivers.base import Promotion, Reservation
from djqueue.drivers.redis import codec, scripts
from djqueue.drivers.redis.inspection import SLICE, rows_of
from djqueue.drivers.redis.servers.calls import BYTES, MOST, always
from djqueue.drivers.store_clock import StoreClock
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from djqueue.drivers.redis.reserving import Holding
    from djqueue.drivers.redis.servers.calls import Calls

A_WHILE = 0.1
"""Seconds that the promotion, and the search for reservations of the dead, take at most a call: a
worker with many queues goes on with the others the next time."""
RECOVERED_BYTES = 16 * BYTES
"""Bytes of payload after which no further reservations are taken over in one call."""


class Sweeping:
    """What a worker does by the clock. An error of one queue keeps no worker from the others."""

    def __init__(self, calls: Calls, holding: Holding) -> None:
        self._calls = calls
        self.holding = holding
        self._clocks: dict[str, StoreClock] = {}
        """Of the servers that have the queues: each node of a cluster has its own."""
        self._turn = {"promote": 0, "recover": 0}
        """The queue that is next to be looked after."""

    def promote(self, queues: Sequence[str]) -> Promotion:
        """Put in line what is due, a slice of each queue."""
        moved, dues = 0, []

        def put_in_line(queue: str) -> None:
            nonlocal moved
            some, due = self._calls.run(scripts.PROMOTE, queue, (SLICE,))
            moved += some
            if due >= 0:
                dues.append(due / 1000)

        if not self._in_turn("promote", queues, put_in_line):
            dues.append(0.0)
        return Promotion(moved, min(dues, default=None))

    def recover(self, limit: int, late: float = 0.0) -> list[Reservation]:
        """Take over what dead workers held, of our own queues first."""
        held = self.holding
        taken: list[Reservation] = []
        size = 0

        def take_over(queue: str) -> None:
            nonlocal size
            more = 1
            clock = self._clocks.setdefault(queue, StoreClock(held.lease / 1000))
            while more and len(taken) < limit and size < RECOVERED_BYTES and clock.may_judge:
                held.asked.add(queue)
                wanted = min(limit - len(taken), MOST)
                arguments = (wanted, held.lease, held.session, held.worker, BYTES, int(late * 1000))
                asked, latest = time.monotonic(), int((clock.latest() or 0) * 1000)
                *found, more, shown = self._calls.run(scripts.RECOVER, queue, (*arguments, latest))
                clock.shows(shown / 1000, asked)
                size += sum(map(len, found[1]))
                taken.extend(codec.held(queue, *found))

        names = self._calls.names.all_and(held.queues)
        self._calls.each(held.queues, always(take_over))
        others = [name for name in names if name not in held.queues]
        with suppress(QueueUnavailable):  # what we have taken over is ours, whatever they say
            self._in_turn("recover", others, take_over)
        return taken

    def _in_turn(self, what: str, queues: Sequence[str], action: Callable[[str], None]) -> bool:
        """Call `action` with one queue after the other, for `A_WHILE`, and the next time with the
        queues that are left. Return whether all had their turn.
        """
        first = self._turn[what] % max(len(queues), 1)
        ends_at = time.monotonic() + A_WHILE
        done = 0

        def act(queue: str) -> bool:
            nonlocal done
            action(queue)
            done += 1
            return time.monotonic() < ends_at

        self._calls.each([*queues[first:], *queues[:first]], act)
        self._turn[what] = first + done
        return done >= len(queues)

    def unacknowledged(self, known: Sequence[Reservation]) -> list[Reservation]:
        """Return the reservations of this worker that are not among `known`."""
        held = self.holding
        theirs = {(reservation.id, reservation.handle) for reservation in known}
        ours = b":%b:" % held.session.encode()
        found: list[Reservation] = []

        def look(queue: str) -> None:
            keys = self._calls.keys(queue)
            everything = self._calls.read(keys.held, b"HGETALL", keys.held)
            holders = dict(zip(everything[::2], everything[1::2], strict=True))
            mine = [(id, b"") for id, one in holders.items() if ours in one[:40]]
            _, rows = rows_of(self._calls, queue, mine)
            for id, body, state, one, *_ in rows:
                found.extend(codec.held(queue, [id], [body], [state], [one]))

        self._calls.each([*held.queues, *sorted(held.asked - {*held.queues})], always(look))
        return [r for r in found if (r.id, r.handle) not in theirs]
