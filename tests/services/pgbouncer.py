"""PgBouncer in transaction mode, in front of a PostgreSQL server."""

from __future__ import annotations

import signal
from typing import ClassVar

from tests.services import programs
from tests.services.postgresql import PostgreSQL
from tests.services.server import HOST, Server

_CONFIGURATION = """\
[databases]
* = host={server.host} port={server.port} user={server.user}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
admin_users = {server.user}
pool_mode = {mode}
max_client_conn = 300
default_pool_size = 20
ignore_startup_parameters = extra_float_digits,options
"""


class PgBouncer(Server):
    """A pooler for all databases of a running server, in transaction mode unless told otherwise."""

    requirement = programs.PGBOUNCER
    run_as: ClassVar[tuple[str, ...]] = ("postgres",)
    # Immediate shutdown; SIGINT would wait for the clients.
    stop_signal = signal.SIGTERM

    def __init__(
        self, server: PostgreSQL, *, mode: str = "transaction", port: int | None = None
    ) -> None:
        super().__init__(port)
        self.server = server
        self.mode = mode

    @property
    def user(self) -> str:
        return self.server.user

    @property
    def password(self) -> str:
        return self.server.password

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/postgres"

    def prepare(self) -> None:
        self.write("users.txt", f'"{self.user}" "{self.password}"\n')
        text = _CONFIGURATION.format(
            server=self.server, host=HOST, port=self.port, folder=self.folder, mode=self.mode
        )
        self.write("pgbouncer.ini", text)

    def command(self) -> list[str]:
        return [str(programs.require(self.requirement)), str(self.folder / "pgbouncer.ini")]
