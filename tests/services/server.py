"""What all servers have in common: a port, a folder, a process group, and a certain end."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.services.guard import Guard
from tests.services.processes import descendants
from tests.services.programs import Requirement, require

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"


class ServerFailed(Exception):
    """A server did not start; the text has the end of its log."""


def free_port() -> int:
    """Return a port nobody listens on, below those the system hands to outgoing connections.

    So nobody takes it by chance while its server is being restarted.
    """
    while True:
        port = random.randint(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port


class Server:
    """A program with a port and a folder.

    A subclass says which program (`requirement`), how to prepare its folder once (`prepare`), its
    command line (`command`) and when it answers (`is_ready`).
    """

    requirement: ClassVar[Requirement]
    # Users to run as, best first, when this is root and the program refuses that.
    run_as: ClassVar[tuple[str, ...]] = ()
    stop_signal: ClassVar[int] = signal.SIGTERM
    # Ends a server whose data is removed: nothing has to be written before.
    end_signal: ClassVar[int] = signal.SIGKILL
    start_timeout: ClassVar[float] = 60.0
    stop_timeout: ClassVar[float] = 30.0

    host = HOST

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # -- for users ------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the server and wait until it answers; do nothing when it runs.

        Raises `MissingProgram` when it is not installed and `ServerFailed` when it does not start.
        """
        if self.is_running:
            return self
        require(self.requirement)
        try:
            if self._folder is None:
                self._folder = self._make_folder()
                self.prepare()
            self._spawn()
            self.wait_for(self.is_ready)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its data; do nothing when it was not started."""
        self._end(self.end_signal, 5.0)  # its data goes with it
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def halt(self) -> None:
        """Stop the server in an orderly way and keep its data, for a later `start`."""
        self._end(self.stop_signal, self.stop_timeout)

    def restart(self) -> None:
        """Stop the server in an orderly way and start it again, on the same port and data."""
        self.halt()
        self.start()

    def kill9(self) -> None:
        """Kill the server and all its processes at once, as a power cut would; keep its data."""
        self._kill_all()
        self._forget()

    def freeze(self) -> None:
        """Make the server hang: connections stay open, nothing is answered, until `thaw`."""
        self._signal(self.pids, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(self.pids, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> list[int]:
        """The server's process and those it started."""
        if self._process is None or self._process.poll() is not None:
            return []
        return [self._process.pid, *descendants(self._process.pid)]

    @property
    def folder(self) -> Path:
        """The server's folder, while it has one."""
        if self._folder is None:
            raise ServerFailed(f"{type(self).__name__} is not started.")
        return self._folder

    @property
    def log(self) -> str:
        """What the server has printed so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # -- for subclasses -------------------------------------------------------------------------

    def prepare(self) -> None:
        """Fill the new folder."""

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server answers; asked until it does."""
        return self.can_connect()

    def can_connect(self, port: int | None = None) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port or self.port), 1.0):
            return True
        return False

    def ask(self, request: bytes, port: int | None = None) -> bytes:
        """Send one request and return the beginning of the answer; empty when there is none."""
        address = (HOST, port or self.port)
        with contextlib.suppress(OSError), socket.create_connection(address, 1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(request)
            return connection.recv(4096)
        return b""

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a program as the server's user to its end and return its output."""
        user = self._user()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=user and [],
        )
        if done.returncode:
            raise ServerFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file of the server's folder that its user can read."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        self.give_away(path)
        return path

    def give_away(self, path: Path) -> None:
        """Make a path the server's user's own."""
        user = self._user()
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)

    # -- the process ----------------------------------------------------------------------------

    def _make_folder(self) -> Path:
        # Short, because sockets live in it; and in /tmp when another user must reach it.
        base = tempfile.gettempdir()
        if self._user() is not None or len(base) > 40:
            base = "/tmp"
        folder = Path(tempfile.mkdtemp(prefix=f"djqueue-{type(self).__name__.lower()}-", dir=base))
        self.give_away(folder)
        return folder

    def _user(self) -> pwd.struct_passwd | None:
        """The user to run as, or None to stay who we are."""
        if not self.run_as or os.geteuid() != 0:
            return None
        for name in (*self.run_as, "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise ServerFailed(f"There is no user to run as: none of {', '.join(self.run_as)}, nobody.")

    def _environment(self) -> dict[str, str]:
        # A developer's PGHOST or PGDATA must not reach a server of the tests.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return {**kept, "HOME": str(self.folder), "LC_ALL": "C"}

    def _spawn(self) -> None:
        user = self._user()
        with (self.folder / "log").open("ab") as log:
            # A process group of its own: Ctrl-C reaches the tests alone, which then stop it.
            self._process = subprocess.Popen(
                list(self.command()),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=user and [],
            )
        Guard.get().watch(self._process.pid, self.stop_signal, self.folder, self.stop)

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until the predicate holds; `ServerFailed` when the server ends or takes too long."""
        deadline = time.monotonic() + self.start_timeout
        while not (self.is_running and predicate()):
            if not self.is_running or time.monotonic() > deadline:
                what = "ended" if not self.is_running else "does not answer"
                raise ServerFailed(f"{type(self).__name__} {what}:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def _end(self, signum: int, timeout: float) -> None:
        if self._process is None:
            return
        if signum != signal.SIGKILL:
            self.thaw()
            self._process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self._kill_all()
        self._forget()

    def _kill_all(self) -> None:
        self._signal(self.pids, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _forget(self) -> None:
        if self._process is not None:
            Guard.get().forget(self._process.pid)
            self._process = None

    @staticmethod
    def _signal(pids: Sequence[int], signum: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
