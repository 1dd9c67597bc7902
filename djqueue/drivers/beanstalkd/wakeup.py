"""How an idle worker on beanstalkd hears of a job: a second connection that waits for one.

The job that ends the wait is reserved by that connection, but belongs to the worker's first one,
which renews and settles. It changes over without another worker seeing it: put back with a delay of
a second, during which it can be reserved by its id alone. If the worker dies between the two steps,
it is an ordinary job a second later.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from djqueue.drivers.base import Wakeup
from djqueue.drivers.beanstalkd import client
from djqueue.drivers.beanstalkd.client import Client
from djqueue.errors import QueueUnavailable

CHANGE_OVER = 1
"""Seconds that a job has to change connections."""


class Called(NamedTuple):
    """A job that is there for the worker to reserve by its id."""

    job: int
    tube: str


class WaitingConnection(Wakeup):
    """Waits whenever the worker has looked and found less than it wanted.

    Its descriptor is a selector's, so that it stays the same when the connection is another.
    """

    def __init__(self, connection: Client, queues: Sequence[str], wait: int) -> None:
        self._client = connection
        self._queues = tuple(queues)
        self._wait = wait
        self._waiting = False
        self._selector = selectors.DefaultSelector()
        self._registered = (0, 0)
        """The openings of this connection and of the worker's that the selector has."""
        self._worker: Client | None = None
        self._called: list[Called] = []

    def fileno(self) -> int | None:
        # Only the selectors of Linux, macOS and the BSDs are descriptors themselves.
        return self._selector.fileno() if hasattr(self._selector, "fileno") else None

    def arrived(self) -> bool:
        if self._worker is not None and self._worker.is_closed_by_server():
            self._worker.close()
            self._registered = (0, 0)
            return True
        waited = self._waiting
        woken = self._listen()
        if waited and not self._waiting and not woken:
            self.arm()  # the wait was over without a job
        return woken

    def set_idle(self, idle: bool) -> None:
        if idle:
            self.arm()

    def close(self) -> None:
        self._stop()
        self._queues = ()
        self._selector.close()

    # -- for the driver ------------------------------------------------------------------------

    def called(self, queues: Sequence[str]) -> list[Called]:
        """Return the jobs of `queues` that wait to be reserved by their ids; each is given once."""
        self._listen()
        called, self._called = self._called, []
        return [each for each in called if each.tube in queues]

    def follow(self, queues: Sequence[str]) -> None:
        """Wait for jobs of `queues` from now on: a paused one must not be waited for."""
        if tuple(queues) != self._queues and self._selector.get_map() is not None:
            self._queues = tuple(queues)
            if self._waiting:
                self._stop()

    def arm(self) -> None:
        """Begin to wait, unless it waits already."""
        if self._waiting or not self._queues:
            return
        self._client.begin(client.reserve_for(self._wait), watch=self._queues)
        self._waiting = True
        self.look_again = time.monotonic() + self._wait + self._client.timeout
        self._register()

    def look_at(self, worker: Client) -> None:
        """Call also when the connection of the worker closes: any worker may take what it held."""
        self._worker = worker
        self._register()

    def _register(self) -> None:
        clients = [each for each in (self._client, self._worker) if each is not None]
        openings = (clients[0].openings, clients[-1].openings)
        if self._registered == openings or self._selector.get_map() is None:
            return
        self._registered = openings
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
        for each in clients:
            if (descriptor := each.fileno()) is not None:
                self._selector.register(descriptor, selectors.EVENT_READ)

    def _stop(self) -> None:
        """End a wait with its connection, which is the only way. Any worker may take what it was
        given.
        """
        self._client.close()
        self._waiting = False
        self._called = []
        self.look_again = float("inf")

    def _listen(self) -> bool:
        """Read the answer if it has arrived. Return whether a job has ended the wait."""
        if not self._waiting:
            return False
        try:
            reply = self._client.answer()
            if reply is None:
                if time.monotonic() < self.look_again:
                    return False
                raise QueueUnavailable(f"{self._client} has not ended a wait.")
            self._waiting = False
            self.look_again = float("inf")
            if reply.word == "RESERVED":
                self._pass_on(reply.number)
        except QueueUnavailable:
            self._stop()
            return True
        return reply.word == "RESERVED"

    def _pass_on(self, job: int) -> None:
        (answer,) = self._client.ask([client.stats_job(job)])
        known = answer.pairs()
        if "pri" not in known or "tube" not in known:
            return  # its time was over before we looked, and another worker has it
        (reply,) = self._client.ask([client.release(job, int(known["pri"]), CHANGE_OVER)])
        if reply.word == "RELEASED":
            self._called.append(Called(job, known["tube"]))


def arm(waiting: WaitingConnection) -> None:
    """Begin to wait. An error here is raised by the next call that needs the server."""
    with suppress(QueueUnavailable):
        waiting.arm()
