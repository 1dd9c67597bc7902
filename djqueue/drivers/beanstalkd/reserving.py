"""Reserving: tube after tube, several jobs a request, and what a waiting connection has announced.

beanstalkd hands out one job a command, therefore a request has many commands. A command that finds
nothing costs the server some work: few are sent where few were answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from djqueue.drivers.beanstalkd import client, message
from djqueue.drivers.beanstalkd.client import Client, Reply
from djqueue.drivers.beanstalkd.message import Message
from djqueue.drivers.beanstalkd.wakeup import Called, WaitingConnection, arm

MOST_EAGER = 400


class Wanted(NamedTuple):
    """What one exchange wants."""

    tubes: Sequence[str]
    limit: int
    first: Sequence[bytes]
    """Commands for the first tube, which go along with the settlements."""
    called: Sequence[Called]
    """Announced jobs of the other tubes."""


class Reserving:
    """The jobs that a worker's connection reserves."""

    def __init__(self, connection: Client) -> None:
        self._client = connection
        self._eager = 1
        """How many jobs the next exchange asks for at once."""
        self.waiting: WaitingConnection | None = None

    def want(self, tubes: Sequence[str], limit: int) -> Wanted:
        """Return what to ask for, of up to `limit` jobs."""
        if limit <= 0 or not tubes:
            return Wanted((), 0, (), ())
        called: list[Called] = []
        if self.waiting is not None:
            self.waiting.follow(tubes)
            called = self.waiting.called(tubes)
        first = [client.reserve_job(each.job) for each in called if each.tube == tubes[0]][:limit]
        first += [client.RESERVE_NOW] * min(self._eager, limit - len(first))
        return Wanted(tubes, limit, first, [each for each in called if each.tube != tubes[0]])

    def read(self, replies: Sequence[Reply], tube: str, since: float) -> list[Message]:
        """Return the jobs among the answers to commands for `tube`, sent at `since` or later."""
        opening = self._client.openings
        return [
            message.decode(reply.data, tube, reply.number, since, opening)
            for reply in replies
            if reply.word == "RESERVED"
        ]

    def add_rest(self, wanted: Wanted, found: list[Message], since: float) -> None:
        """Add jobs to `found`, which the first commands have given, up to the limit: tube after
        tube, as long as each gives all that it is asked for.
        """
        if not wanted.tubes:
            return
        self._add(wanted, found, since, min(self._eager, wanted.limit))
        waiting = self.waiting
        if waiting is not None and not found and (called := waiting.called(wanted.tubes)):
            # The waiting connection had the job that was looked for.
            self._add(wanted._replace(called=called), found, since, None)
        if waiting is not None and len(found) < wanted.limit:
            arm(waiting)

    def _add(
        self, wanted: Wanted, found: list[Message], since: float, first_asked: int | None
    ) -> None:
        """`first_asked`: jobs that the first tube was asked for already; None: it was not asked."""
        for tube in wanted.tubes:
            asked, got = 0, 0
            if tube == wanted.tubes[0] and first_asked is not None:
                asked, got = first_asked, len(found)
            ids = [client.reserve_job(each.job) for each in wanted.called if each.tube == tube]
            while (left := wanted.limit - len(found)) and (got >= asked or ids):
                asked = min(left, max(asked * 8, 1))
                commands = (ids + [client.RESERVE_NOW] * asked)[:left]
                some = self.read(self._client.ask(commands, watch=[tube]), tube, since)
                ids, got = [], len(some)
                found += some
        self._eager = max(1, min(len(found), MOST_EAGER))
