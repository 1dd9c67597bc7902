"""beanstalkd, with or without a binlog."""

from __future__ import annotations

from tests.services import programs
from tests.services.server import HOST, Server


class Beanstalkd(Server):
    """One beanstalkd. With ``binlog=True`` its jobs survive a `restart` and `kill9`."""

    requirement = programs.BEANSTALKD

    def __init__(
        self, *, binlog: bool = False, port: int | None = None, max_job_size: int = 65535
    ) -> None:
        super().__init__(port)
        self.binlog = binlog
        self.max_job_size = max_job_size

    @property
    def url(self) -> str:
        return f"beanstalkd://{self.host}:{self.port}"

    def prepare(self) -> None:
        (self.folder / "binlog").mkdir()

    def command(self) -> list[str]:
        command = [str(programs.require(self.requirement)), "-l", HOST, "-p", str(self.port)]
        command += ["-z", str(self.max_job_size)]
        # -f0: each write is on disk before it is answered.
        return command + (["-b", str(self.folder / "binlog"), "-f0"] if self.binlog else [])

    def is_ready(self) -> bool:
        return self.ask(b"list-tubes\r\n").startswith(b"OK")
