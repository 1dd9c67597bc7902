"""Starting processes: the warden by the parent, children by the warden.

By fork, so that all share the memory of what was imported; by exec where a fork of a process that
has been used is not safe, and for a warden that replaces one, since stores are open by then.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from djqueue.worker.children.child import main
from djqueue.worker.children.page import Slot, StatusPage
from djqueue.worker.children.settings import Assignment, Channels, ChildSettings
from djqueue.worker.warden.warden import Ties, Warden, do_nothing

EXEC = "DJQUEUE_START_BY_EXEC"
"""Environment variable that makes Linux start processes as macOS does."""
_GUARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What must not end a process before it has its handlers."""
_HANDLED = (*_GUARDED, signal.SIGCONT)


def by_exec() -> bool:
    """Return whether to start processes by exec: the frameworks of macOS crash in a forked child
    that uses them.
    """
    return sys.platform == "darwin" or bool(os.environ.get(EXEC))


# -- the warden, in the parent ---------------------------------------------------------------------


def fork_warden(
    settings: ChildSettings,
    page: StatusPage,
    link: socket.socket,
    signals: int,
    private: Sequence[int],
) -> int:
    """Fork a warden, which has none of the descriptors that are `private` to this process. Nothing
    may be open that does not survive a fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    _settle_memory()
    parent = os.getpid()
    with _guarded():
        pid = os.fork()
        if not pid:
            try:
                for descriptor in private:
                    os.close(descriptor)
                _become_warden(
                    settings, page, Ties(link, signals, parent, settings.grace), forks=True
                )
            finally:
                os._exit(1)
    return pid


def exec_warden(
    settings: ChildSettings, page: StatusPage, theirs: socket.socket, signals: int, *, forks: bool
) -> int:
    """Start a warden in a new interpreter. With `forks` it loads the project and forks children;
    without it starts each in an interpreter of its own.
    """
    given = {
        "settings": settings.to_dict(),
        "page": [page.descriptor, page.size],
        "link": theirs.fileno(),
        "signals": signals,
        "parent": os.getpid(),
        "forks": forks,
    }
    kept = [page.descriptor, theirs.fileno(), *([signals] if signals >= 0 else [])]
    with _guarded():
        process = subprocess.Popen(_line("warden", given), pass_fds=kept)
    process.returncode = 0  # we wait for it ourselves
    return process.pid


def _line(what: str, given: dict[str, Any]) -> list[str]:
    """Return a command line that runs `what` below, with the import path of this process."""
    code = (
        "import json, sys; args = json.loads(sys.argv[1]); sys.path[:] = args.pop('path');"
        f" from djqueue.worker.warden import spawn as start; start.{what}(args)"
    )
    given["path"] = [str(Path(entry).absolute()) for entry in sys.path]
    return [sys.executable, "-c", code, json.dumps(given)]


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Block signals in this block. A process that is started in it has to unblock them itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _GUARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle_memory() -> None:
    """Keep as many pages as possible shared with the processes to come.

    What each of them would import at its first query is imported here. What imports have left free
    goes back to the system: each would fill pages of its own with it. Then the collector is to
    leave our objects alone.
    """
    for alias in connections:
        with contextlib.suppress(ImproperlyConfigured):  # its first use says so
            connections[alias].ops.compiler("SQLCompiler")
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()


# -- the warden's own life -------------------------------------------------------------------------


def warden(given: dict[str, Any]) -> NoReturn:
    """Run as a warden, in a new interpreter."""
    try:
        link = socket.socket(fileno=given["link"])
        page = StatusPage(*given["page"])
        for descriptor in (link.fileno(), page.descriptor, given["signals"]):
            if descriptor >= 0:
                os.set_inheritable(descriptor, False)
        settings = ChildSettings.from_dict(given["settings"])
        if given["forks"]:
            _load_project()
            _settle_memory()
        ties = Ties(link, given["signals"], given["parent"], settings.grace)
        _become_warden(settings, page, ties, forks=given["forks"])
    finally:
        os._exit(1)


def _load_project() -> None:
    import django

    from djqueue.jobs import registry

    django.setup()
    for spec in registry.all():
        spec.warm_up()


def _become_warden(
    settings: ChildSettings, page: StatusPage, ties: Ties, *, forks: bool
) -> NoReturn:
    gc.disable()
    signal.set_wakeup_fd(-1)
    # In a group of its own: what kills the parent's does not leave the children unattended.
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    handle_signals()
    life = os.pipe()
    starter = ChildStarter(settings, page, life, forks=forks)
    Warden(ties, page, starter.start).run()
    os._exit(0)


def handle_signals() -> None:
    """Install handlers that do nothing: the parent decides. Ignored signals stay ignored, for
    nohup.
    """
    for number in _HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, do_nothing)
            signal.siginterrupt(number, False)


class ChildStarter:
    """Starts children. `life` is a pipe whose writing end only this process has."""

    def __init__(
        self, settings: ChildSettings, page: StatusPage, life: tuple[int, int], *, forks: bool
    ) -> None:
        self._settings = settings
        self._page = page
        self._life = life
        self._forks = forks

    def start(self, slot: Slot, channels: list[int], own: list[int]) -> int:
        """Start a child. Return its process id. `own`: the descriptors of the warden that the child
        must not have.
        """
        assignment = Assignment(self._settings, Channels(*channels), self._life[0], os.getpid())
        with _guarded():
            if not self._forks:
                return self._exec(assignment, slot)
            pid = os.fork()
            if not pid:
                self._run_forked(assignment, slot, own)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does so too: the first one counts
        return pid

    def _run_forked(self, assignment: Assignment, slot: Slot, own: Sequence[int]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in (*own, self._life[1]):
                os.close(descriptor)
            main(assignment, slot)
        finally:
            os._exit(1)

    def _exec(self, assignment: Assignment, slot: Slot) -> int:
        given = {
            "settings": assignment.settings.to_dict(),
            "channels": assignment.channels,
            "life": assignment.life,
            "warden": assignment.warden,
            "page": [self._page.descriptor, self._page.size],
            "slot": slot.number,
        }
        process = subprocess.Popen(
            _line("child", given),
            pass_fds=[*assignment.channels, assignment.life, self._page.descriptor],
            preexec_fn=os.setpgrp,  # noqa: PLW1509 - this process has one thread
        )
        process.returncode = 0
        return process.pid


def child(given: dict[str, Any]) -> NoReturn:
    """Run as a child, in a new interpreter."""
    import django

    handle_signals()
    page, channels = StatusPage(*given["page"]), Channels(*given["channels"])
    for descriptor in (page.descriptor, given["life"], *channels):
        os.set_inheritable(descriptor, False)
    django.setup()
    settings = ChildSettings.from_dict(given["settings"])
    assignment = Assignment(settings, channels, given["life"], given["warden"])
    main(assignment, page.slots[given["slot"]])


def allow_descriptors(count: int) -> None:
    """Raise the soft limit for open files to `count`, as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
