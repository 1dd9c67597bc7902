"""The parent's line to its warden, and the channels of a child that are passed over it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from djqueue.worker.children.page import Slot, StatusPage, scratch
from djqueue.worker.children.settings import Channels, ChildSettings
from djqueue.worker.interrupts import Interrupts
from djqueue.worker.warden.spawn import exec_warden, fork_warden
from djqueue.worker.warden.warden import DIED, KILL, ORDER, REPORT, START


@dataclass
class ParentEnds:
    """The parent's ends of one child's channels."""

    work: socket.socket
    tokens: int
    tokens_back: int
    """The reading end, to take back what was not begun."""
    outcomes: int
    dump: int
    closed: bool = False

    def close(self) -> None:
        """Close all of them, once."""
        if not self.closed:
            self.closed = True
            self.work.close()
            for descriptor in (self.tokens, self.tokens_back, self.outcomes, self.dump):
                os.close(descriptor)


class Report(NamedTuple):
    """What a warden tells of a child."""

    slot: int
    died: bool
    """False: it could not be started."""
    status: int
    """As `os.waitpid` gives it, or an error number."""


class Link:
    """To a warden that lives, or has just died."""

    def __init__(
        self,
        settings: ChildSettings,
        page: StatusPage,
        interrupts: Interrupts | None,
        *,
        forks: bool,
        first: bool,
    ) -> None:
        """Start a warden: by fork, if it is the `first` and `forks`, else by exec."""
        self._socket, theirs = socket.socketpair()
        signals = interrupts.for_warden if interrupts else -1
        private = [self._socket.fileno(), *(interrupts.private if interrupts else ())]
        try:
            if first and forks:
                self.pid = fork_warden(settings, page, theirs, signals, private)
            else:
                self.pid = exec_warden(settings, page, theirs, signals, forks=forks)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._socket.setblocking(False)
        self._unsent = b""
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are reports, or the warden is gone."""
        return self._socket.fileno()

    def start(self, slot: Slot) -> ParentEnds:
        """Let a child start. Return the parent's ends of its channels. Raises OSError if there is
        no room for a child.
        """
        ends, theirs = _channels()
        try:
            self.send()
            order = ORDER.pack(START, slot.number)
            socket.send_fds(self._socket, [order], theirs)
        except OSError:
            ends.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return ends

    def kill(self, slot: Slot) -> None:
        """Let a child be killed."""
        self._unsent += ORDER.pack(KILL, slot.number)
        self.send()

    def send(self) -> None:
        """Write what could not be written before."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # it is gone, and its children with it

    def reports(self) -> Iterator[Report]:
        """Return the reports since the last call. Raises EOFError when the warden is gone."""
        while True:
            try:
                data = self._socket.recv(1 << 12)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                raise EOFError
            self._received += data
            whole = len(self._received) // REPORT.size * REPORT.size
            received, self._received = self._received[:whole], self._received[whole:]
            for what, slot, status in REPORT.iter_unpack(received):
                yield Report(slot, what == DIED, status)

    def close(self) -> None:
        """Close the link: the warden ends whatever still runs."""
        self._socket.close()


def _channels() -> tuple[ParentEnds, Channels]:
    """Return the parent's ends and the child's."""
    opened: list[int] = []
    try:
        ours, theirs = (end.detach() for end in socket.socketpair())
        opened += [ours, theirs]
        tokens_read, tokens = os.pipe()
        opened += [tokens_read, tokens]
        outcomes, outcomes_write = os.pipe()
        opened += [outcomes, outcomes_write]
        dump = scratch("dump")
        opened.append(dump)
        dump_too = os.dup(dump)
        opened.append(dump_too)
        tokens_read_too = os.dup(tokens_read)
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    # One open pipe end for both processes: the child finds it non-blocking too.
    for descriptor in (ours, tokens, tokens_read, outcomes):
        os.set_blocking(descriptor, False)
    ends = ParentEnds(socket.socket(fileno=ours), tokens, tokens_read, outcomes, dump)
    return ends, Channels(theirs, tokens_read_too, outcomes_write, dump_too)
