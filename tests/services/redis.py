"""Redis, alone and as a cluster."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services import programs
from tests.services.server import HOST, Server, free_port

if TYPE_CHECKING:
    from typing_extensions import Self


SLOTS = 16384


class Redis(Server):
    """One Redis server. With ``aof=True`` each write is on disk before it is answered, with
    ``aof="everysec"`` within about a second.
    """

    requirement = programs.REDIS

    def __init__(
        self, *, aof: bool | str = False, port: int | None = None, cluster: bool = False
    ) -> None:
        super().__init__(port)
        self.aof = aof
        self.cluster = cluster
        self.bus_port = free_port() if cluster else None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        command = [
            str(programs.require(self.requirement)),
            "--bind",
            HOST,
            "--port",
            str(self.port),
        ]
        command += ["--dir", str(self.folder), "--save", "", "--databases", "256"]
        if self.aof:
            fsync = "always" if self.aof is True else self.aof
            command += ["--appendonly", "yes", "--appendfsync", fsync]
        if self.cluster:
            command += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
            command += ["--cluster-node-timeout", "5000"]
        return command

    def is_ready(self) -> bool:
        # While it still loads its file it answers with an error.
        return self.ask(b"PING\r\n").startswith(b"+PONG")

    def cli(self, *arguments: str) -> str:
        """Run `redis-cli` against this server."""
        cli = programs.require(self.requirement, "redis-cli")
        return self.run(str(cli), "-h", self.host, "-p", str(self.port), *arguments)


class RedisCluster:
    """Three masters without replicas, sharing the slots."""

    requirement = programs.REDIS
    host = HOST

    def __init__(self, *, masters: int = 3, aof: bool = False) -> None:
        self.nodes = [Redis(cluster=True, aof=aof) for _ in range(masters)]

    @property
    def port(self) -> int:
        """The first node's port; a client learns the others' from it."""
        return self.nodes[0].port

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def folder(self) -> Path:
        return self.nodes[0].folder

    def start(self) -> Self:
        """Start the nodes and let them form the cluster; do nothing when it runs."""
        if self.nodes[0].is_running:
            return self
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _join(self) -> None:
        # By hand: ``redis-cli --cluster create`` waits for a second here and there.
        count = len(self.nodes)
        for number, node in enumerate(self.nodes):
            slots = range(SLOTS * number // count, SLOTS * (number + 1) // count)
            node.cli("cluster", "addslots", *map(str, slots))
            node.cli("cluster", "set-config-epoch", str(number + 1))
            node.cli("cluster", "meet", HOST, str(self.port), str(self.nodes[0].bus_port))
        for node in self.nodes:
            node.wait_for(functools.partial(_is_agreed, node, count))


def _is_agreed(node: Redis, count: int) -> bool:
    known = node.cli("cluster", "info")
    return "cluster_state:ok" in known and f"cluster_known_nodes:{count}" in known
