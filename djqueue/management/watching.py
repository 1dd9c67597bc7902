"""Showing something again and again, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.core.management.base import CommandError
from django.db import DatabaseError, close_old_connections

from djqueue.compat import stream_of
from djqueue.errors import QueueError
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.management.base import QueueCommand

__all__ = ["watch"]

SHORTEST = 0.5
CLEAR = "\x1b[H\x1b[2J"


def watch(command: QueueCommand, seconds: float, show: Callable[[], object]) -> None:
    """Call `show` every `seconds`, on a terminal each time on an empty screen. An error is shown in
    its place: what is watched may come back. Ctrl-C ends it.
    """
    try:
        while True:
            if command.stdout.isatty():
                # Not through the command's own stream, which spells such characters out.
                stream_of(command.stdout).write(CLEAR)
                command.stdout.write(time.strftime("%Y-%m-%d %H:%M:%S") + "  (Ctrl-C to leave)")
            try:
                show()
            except (CommandError, QueueError, DatabaseError) as error:
                command.stderr.write(one_line(masked_text(str(error))))
                close_old_connections()
            command.stdout.flush()
            time.sleep(max(seconds, SHORTEST))
    except KeyboardInterrupt:
        command.stdout.write("")
