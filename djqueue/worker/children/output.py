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
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor itself, for programs that inherit it."""
        return self._descriptor

    def isatty(self) -> bool:
        """As the descriptor is."""
        return os.isatty(self._descriptor)

    def write(self, data: Buffer, /) -> int:
        """How much was written, or lost."""
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return memoryview(data).nbytes


def unbuffer() -> None:
    """In a child: each line that a job prints goes out when it is complete."""
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
    """What was printed without the end of a line goes out as well."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - closed by a job, or a job's own stream
        with contextlib.suppress(Exception):
            sys.stderr.flush()


def hold_standard_descriptors() -> None:
    """Where one of the first three is closed, nothing else may take its place: it would be printed
    to.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
