"""Redis Cluster: which node has a slot, and what to do while slots move."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.crc import key_slot

from djqueue.drivers.redis.servers.connection import ServerConnection
from djqueue.drivers.redis.servers.store import SHORTEST, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis.connection import Connection

    from djqueue.drivers.redis.scripts import Script

Address = tuple[str, int]

PATIENCE = 3.0
"""Seconds that a dispatch waits for a slot on its way between two nodes."""
WORKERS_PATIENCE = 0.2
"""The same for a worker, whose loop has other things to do meanwhile."""
REDIRECTIONS = 8
REST = 1.0
"""Seconds for which a node that was silent is not asked again; then it has this long to answer."""
_UNREACHABLE = (exceptions.ConnectionError, exceptions.TimeoutError)


class Cluster(Store):
    """The primaries of a cluster."""

    is_cluster = True

    def __init__(
        self,
        name: str,
        timeout: float,
        seeds: Sequence[Address],
        make: Callable[[Address], Connection],
    ) -> None:
        super().__init__(name, timeout)
        self._seeds = list(seeds)
        self._make = make
        self._nodes: dict[Address, ServerConnection] = {}
        self._ranges: list[tuple[int, int, Address]] = []
        self._silent: dict[Address, float] = {}
        """Nodes that gave no answer in time, and until when (monotonic) they are left alone."""
        self._hurry_until = 0.0

    # -- commands -------------------------------------------------------------------------------

    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any:
        deadline = time.monotonic() + (PATIENCE if patient else WORKERS_PATIENCE)
        node: Address | None = None
        asked: Address | None = None
        given = self.time_left()
        redirected = 0
        while True:
            try:
                if asked is not None:
                    return self._run_asking(asked, command, script)
                node = None
                node = self._address(key)
                self._refuse_silent(node)
                given = self.time_left()
                return self._node(node).run(command, script)
            except exceptions.AskError as error:
                redirected += 1
                # Nodes that do not agree yet send in a circle.
                if redirected > REDIRECTIONS and not self._has_waited(deadline):
                    raise
                asked = (error.host, error.port)
                if isinstance(error, exceptions.MovedError):
                    self._learn(self._node(asked))
                    asked = None
            except (exceptions.TryAgainError, exceptions.ClusterDownError):
                # Half of the slot's keys are here and half there, or on no node, for a moment.
                asked, self._ranges = None, []
                if not self._has_waited(deadline):
                    raise
            except (*_UNREACHABLE, exceptions.ReadOnlyError) as error:
                self._ranges = []  # another node may have taken over
                if silent := asked or node:
                    self._note_silence(silent, error, given)
                raise

    def _has_waited(self, deadline: float) -> bool:
        """Wait for a moment if there is time for that. Return whether there was."""
        if time.monotonic() > deadline or self.time_left() < 0.1:
            return False
        time.sleep(0.02 + random.random() * 0.03)
        return True

    def _run_asking(self, node: Address, command: Sequence[Any], script: Script | None) -> Any:
        """Run a command on a node that is still receiving the slot. The permission is for one
        command.
        """
        connection = self._node(node)
        connection.send((b"ASKING",), command)
        connection.receive()
        try:
            return connection.receive()
        except exceptions.NoScriptError:
            if script is None:
                raise
        connection.send((b"ASKING",), (b"EVAL", script.text, *command[2:]))
        connection.receive()
        return connection.receive()

    # -- nodes ----------------------------------------------------------------------------------

    def connection_to(self, key: bytes) -> ServerConnection:
        with self.explained():
            address = self._address(key)
            self._refuse_silent(address)
            return ServerConnection(partial(self._make, address), self.time_left)

    def place(self, key: bytes) -> Address:
        """Return the node that has the slot of `key`; if none has it, no address."""
        with self.explained():
            self.allow_time()
            try:
                return self._address(key)
            except exceptions.ClusterDownError:
                return "", 0

    def servers(self) -> list[ServerConnection]:
        with self.explained():
            self._find()
            return [self._node(address) for address in {node for _, _, node in self._ranges}]

    def connections(self) -> list[ServerConnection]:
        return list(self._nodes.values())

    def group_by_slot(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """Group keys by slot: a command names keys of one slot, and two queues have two."""
        return [[key] for key in keys]

    def _node(self, address: Address) -> ServerConnection:
        connection = self._nodes.get(address)
        if connection is None:
            connection = self._nodes[address] = ServerConnection(
                partial(self._make, address), self.time_left
            )
        return connection

    def _address(self, key: bytes) -> Address:
        slot = key_slot(key)
        for _ in range(2):
            for first, last, address in self._ranges:
                if first <= slot <= last:
                    return address
            self._find()
        raise exceptions.ClusterDownError(f"CLUSTERDOWN no node has slot {slot}")

    def _find(self) -> None:
        """Ask the nodes, the known ones first, who has which slots; last those that were silent.
        None may use up the time that is left, or no other could be asked.
        """
        error: exceptions.RedisError | None = None
        known = dict.fromkeys([*self._nodes, *self._seeds])
        for address in sorted(known, key=lambda address: self._silent.get(address, 0.0)):
            given = self.time_left() / 2
            try:
                with self._hurried(given):
                    self._learn(self._node(address), address[0])
            except _UNREACHABLE as failed:
                self._nodes.pop(address).close()
                self._note_silence(address, failed, given)
                error = failed
            else:
                return
        raise error or exceptions.ConnectionError("No node of the cluster is known.")

    def _refuse_silent(self, node: Address) -> None:
        """Leave a node alone that was silent a moment ago, and greet it first after that: the
        others' queues are not to wait for it again and again.
        """
        until = self._silent.get(node)
        if until is None:
            return
        host, port = node
        if time.monotonic() < until:
            raise exceptions.ConnectionError(f"Timeout: {host}:{port} was silent a moment ago.")
        with self._hurried(REST):
            self._node(node).look(b"PING")
        del self._silent[node]

    def _note_silence(self, node: Address, error: exceptions.RedisError, given: float) -> None:
        """Leave a node alone that did not answer within the seconds `given`, if those were fair."""
        if isinstance(error, exceptions.TimeoutError) and given >= min(REST, self.timeout) / 4:
            self._silent[node] = time.monotonic() + REST

    @contextmanager
    def _hurried(self, seconds: float) -> Iterator[None]:
        """Let nothing in this block wait longer."""
        self._hurry_until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._hurry_until = 0.0

    def time_left(self) -> float:
        left = super().time_left()
        if not self._hurry_until:
            return left
        return max(SHORTEST, min(left, self._hurry_until - time.monotonic()))

    def _learn(self, connection: ServerConnection, host: str = "") -> None:
        """Let a node tell who has which slots. An empty host is its own."""
        ranges = []
        for first, last, primary, *_ in connection.look(b"CLUSTER", b"SLOTS"):
            name = primary[0].decode() if primary[0] else host or connection.host
            ranges.append((first, last, (name, primary[1])))
        self._ranges = ranges
