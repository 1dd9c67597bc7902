"""MariaDB, with its data in a temporary folder."""

from __future__ import annotations

from typing import ClassVar

from tests.services import programs
from tests.services.server import HOST, Server


class MariaDB(Server):
    """One MariaDB server with the all-powerful user `user` (and its `password`).

    ``fsync=False`` flushes its log once a second instead of at each commit.
    """

    requirement = programs.MARIADB
    run_as: ClassVar[tuple[str, ...]] = ("mysql",)

    user = "djqueue"
    password = "djqueue"

    def __init__(self, *, fsync: bool = True, port: int | None = None) -> None:
        super().__init__(port)
        self.fsync = fsync

    @property
    def url(self) -> str:
        return f"mysql://{self.user}:{self.password}@{self.host}:{self.port}/"

    @property
    def socket(self) -> str:
        return str(self.folder / "mariadb.sock")

    def prepare(self) -> None:
        install = str(programs.require(self.requirement, "mariadb-install-db"))
        self.run(
            install,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        )
        grants = (
            f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'%' WITH GRANT OPTION;\n"
        )
        self.write("grants.sql", grants)

    def command(self) -> list[str]:
        command = [
            str(programs.require(self.requirement)),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--init-file={self.folder / 'grants.sql'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            "--max-connections=300",
            "--innodb-buffer-pool-size=128M",
            "--default-time-zone=+00:00",
        ]
        if not self.fsync:
            command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"]
        return command

    def is_ready(self) -> bool:
        # It greets with its version (protocol 10), or with an error (255) when it is full.
        return self.ask(b"")[4:5] == b"\x0a"
