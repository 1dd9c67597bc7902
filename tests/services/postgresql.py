"""PostgreSQL, with its data in a temporary folder."""

from __future__ import annotations

import signal
import struct
from collections.abc import Sequence
from typing import ClassVar

from tests.services import programs
from tests.services.server import HOST, Server


class PostgreSQL(Server):
    """One PostgreSQL server with the superuser `user` (no password) and its database ``postgres``.

    ``fsync=False`` makes it fast, and unsafe in a power cut only. ``tls=True`` accepts encrypted
    connections with a self-signed certificate (`certificate`) and no others.
    """

    requirement = programs.POSTGRESQL
    run_as: ClassVar[tuple[str, ...]] = ("postgres",)
    # "Fast shutdown": open connections are ended instead of waited for.
    stop_signal = signal.SIGINT
    # "Immediate shutdown": it removes the shared memory that a kill would leave behind.
    end_signal = signal.SIGQUIT

    user = "postgres"
    password = ""

    def __init__(
        self,
        *,
        fsync: bool = True,
        tls: bool = False,
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(port)
        self.fsync = fsync
        self.tls = tls
        self.options = tuple(options)

    @property
    def url(self) -> str:
        suffix = "?sslmode=require" if self.tls else ""
        return f"postgresql://{self.user}@{self.host}:{self.port}/postgres{suffix}"

    @property
    def certificate(self) -> str:
        return str(self.folder / "server.crt")

    def prepare(self) -> None:
        initdb = str(programs.require(self.requirement, "initdb"))
        self.run(
            initdb,
            f"--pgdata={self.folder / 'data'}",
            f"--username={self.user}",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )
        if self.tls:
            self._make_certificate()
            access = f"hostssl all all {HOST}/32 trust\nlocal all all trust\n"
            self.write("data/pg_hba.conf", access)

    def _make_certificate(self) -> None:
        openssl = str(programs.require(programs.OPENSSL))
        self.run(
            *(openssl, "req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "30"),
            *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST},DNS:localhost"),
            *("-keyout", str(self.folder / "server.key"), "-out", self.certificate),
        )
        (self.folder / "server.key").chmod(0o600)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "timezone": "UTC",
        }
        if not self.fsync:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        if self.tls:
            settings |= {
                "ssl": "on",
                "ssl_cert_file": self.certificate,
                "ssl_key_file": str(self.folder / "server.key"),
            }
        command = [str(programs.require(self.requirement)), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        for option in self.options:
            command += ["-c", option]
        return command

    def is_ready(self) -> bool:
        # A start-up packet: "R" means the server takes connections, "E" that it still starts.
        # With TLS required it refuses this one with an error too, but of another code.
        body = struct.pack("!I", 196608) + f"user\0{self.user}\0database\0postgres\0\0".encode()
        answer = self.ask(struct.pack("!I", len(body) + 4) + body)
        return answer[:1] == b"R" or (self.tls and b"C28000" in answer)

    def psql(self, sql: str) -> str:
        """Run SQL with `psql`, without any Python driver."""
        psql = programs.require(programs.PSQL)
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        return self.run(str(psql), *options, "-c", sql, self.url)
