"""The rows of what was reserved, taken: what of it is this worker's, over, or another worker's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client
from djqueue.drivers.beanstalkd.reserved import Reserved, release
from djqueue.drivers.guard import Delivery, Guard, GuardRow, GuardState

BUSY_FOR = 1
"""Seconds after which a job that another worker seems to hold is looked at again."""


class Taking:
    """Asks the guard rows, and the server where a row says that another copy is at work."""

    def __init__(self, connection: Client, guard: Guard) -> None:
        self._client = connection
        self._guard = guard

    def take(self, reserved: Sequence[Reserved], ours: Mapping[str, int]) -> list[GuardRow]:
        """What the rows say about what was reserved; `ours` are the numbers of what is held here.
        A copy that the server no longer has holds nothing.
        """
        found = [Delivery(each.body.id, str(each.job), each.body.push_id) for each in reserved]
        taken = self._guard.take(found, ours)
        copies = {
            place: int(row.held_as)
            for place, row in enumerate(taken)
            if row.state is GuardState.BUSY and row.held_as.isdigit()
        }
        if copies:
            ids = {job: found[place].id for place, job in copies.items()}
            gone = {str(job) for job in ids if not self.is_there(job, ids[job])}
            places = [place for place, job in copies.items() if str(job) in gone]
            if places:
                again = self._guard.take([found[place] for place in places], ours, gone)
                for place, row in zip(places, again, strict=True):
                    taken[place] = row
        return taken

    def is_there(self, job: int, id: str) -> bool:
        """Whether the server still has job number `job`, and it is the one called `id`."""
        (reply,) = self._client.ask([client.peek(job)])
        return reply.word == "FOUND" and message.decode(reply.data, "", job).id == id

    def put_away(self, reserved: Sequence[Reserved], taken: Sequence[GuardRow]) -> bool:
        """Delete what is over, and give back what another worker is still at. Whether anything was
        over.
        """
        over = [e for e, g in zip(reserved, taken, strict=True) if g.state is GuardState.ENDED]
        busy = [e for e, g in zip(reserved, taken, strict=True) if g.state is GuardState.BUSY]
        if over or busy:
            self._client.ask(
                [client.delete(each.job) for each in over] + [release(e, BUSY_FOR) for e in busy]
            )
        return bool(over)
