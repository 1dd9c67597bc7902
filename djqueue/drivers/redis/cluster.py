"""Redis Cluster: which node has a slot, and what to do while slots move."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.crc import key_slot

from djqueue.drivers.redis.link import Link
from djqueue.drivers.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.connection import Connection

    from djqueue.drivers.redis.scripts import Script

Address = tuple[str, int]

PATIENCE = 3.0
"""Seconds that a dispatch waits for a slot on its way between two nodes."""
WORKERS_PATIENCE = 0.2
"""The same for a worker, whose loop has other things to do meanwhile."""
REDIRECTIONS = 8
_UNREACHABLE = (exceptions.ConnectionError, exceptions.TimeoutError)


class Cluster(Store):
    """The primaries of a cluster."""

    def __init__(
        self, name: str, seeds: Sequence[Address], make: Callable[[Address], Connection]
    ) -> None:
        super().__init__(name)
        self._seeds = list(seeds)
        self._make = make
        self._nodes: dict[Address, Link] = {}
        self._ranges: list[tuple[int, int, Address]] = []

    # -- commands -------------------------------------------------------------------------------

    def _run(
        self, key: bytes, command: Sequence[Any], script: Script | None, *, patient: bool
    ) -> Any:
        deadline = time.monotonic() + (PATIENCE if patient else WORKERS_PATIENCE)
        asked: Address | None = None
        redirected = 0
        while True:
            try:
                if asked is None:
                    return self._node(self._address(key)).run(command, script)
                return self._run_asking(asked, command, script)
            except exceptions.AskError as error:
                redirected += 1
                if redirected > REDIRECTIONS:
                    raise
                asked = (error.host, error.port)
                if isinstance(error, exceptions.MovedError):
                    self._learn(self._node(asked))
                    asked = None
            except (exceptions.TryAgainError, exceptions.ClusterDownError):
                # Half of the slot's keys are here and half there, or nobody has it, for a moment.
                asked, self._ranges = None, []
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02 + random.random() * 0.03)
            except (exceptions.ConnectionError, exceptions.ReadOnlyError):
                self._ranges = []  # another node may have taken over
                raise

    def _run_asking(self, node: Address, command: Sequence[Any], script: Script | None) -> Any:
        """On a node that is still receiving the slot. The permission is for one command."""
        link = self._node(node)
        link.send((b"ASKING",), command)
        link.receive()
        try:
            return link.receive()
        except exceptions.NoScriptError:
            if script is None:
                raise
        link.send((b"ASKING",), (b"EVAL", script.text, *command[2:]))
        link.receive()
        return link.receive()

    # -- nodes ----------------------------------------------------------------------------------

    def link_to(self, key: bytes) -> Link:
        with self.explained():
            return Link(partial(self._make, self._address(key)))

    def servers(self) -> list[Link]:
        with self.explained():
            self._find()
            return [self._node(address) for address in {node for _, _, node in self._ranges}]

    def links(self) -> list[Link]:
        return list(self._nodes.values())

    def together(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """A command names keys of one slot; two queues have two."""
        return [[key] for key in keys]

    def _node(self, address: Address) -> Link:
        link = self._nodes.get(address)
        if link is None:
            link = self._nodes[address] = Link(partial(self._make, address))
        return link

    def _address(self, key: bytes) -> Address:
        slot = key_slot(key)
        for _ in range(2):
            for first, last, address in self._ranges:
                if first <= slot <= last:
                    return address
            self._find()
        raise exceptions.ClusterDownError(f"CLUSTERDOWN no node has slot {slot}")

    def _find(self) -> None:
        """Ask the nodes, the known ones first, who has which slots."""
        error: exceptions.RedisError | None = None
        for address in dict.fromkeys([*self._nodes, *self._seeds]):
            try:
                self._learn(self._node(address), address[0])
            except _UNREACHABLE as failed:
                self._nodes.pop(address).close()
                error = failed
            else:
                return
        raise error or exceptions.ConnectionError("No node of the cluster is known.")

    def _learn(self, link: Link, host: str = "") -> None:
        """Let a node tell who has which slots. An empty host is its own."""
        ranges = []
        for first, last, primary, *_ in link.run((b"CLUSTER", b"SLOTS")):
            name = primary[0].decode() if primary[0] else host or link.host
            ranges.append((first, last, (name, primary[1])))
        self._ranges = ranges
