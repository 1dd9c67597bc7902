"""What jobs print: seen at once and in order, and never a reason for a job to fail."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Dropping(io.RawIOBase):
    """Writes to a descriptor. What it does not take is lost: a full disk, a reader that is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for programs that inherit it."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Buffer, /) -> int:
        """Write, and return the number of characters that were written or lost."""
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return memoryview(data).nbytes


def unbuffer() -> None:
    """Make a child write each line that a job prints as soon as the line is complete."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):  # none, or replaced by the project
            continue
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):
            continue
        raw = io.BufferedWriter(Dropping(descriptor))
        own = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True)
        setattr(sys, name, own)


def flush() -> None:
    """Write also what was printed without the end of a line."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - closed by a job, or a job's own stream
        with contextlib.suppress(Exception):
            sys.stderr.flush()


def hold_standard_descriptors() -> None:
    """Open the first three descriptors if they are closed: else a file that takes such a number
    would receive what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
