"""Command lines to copy, in which names from outside stand."""

from __future__ import annotations

import shlex

from djqueue.text.printable import one_line

__all__ = ["manage", "words"]


def manage(command: str, *arguments: str) -> str:
    """Return the command line that runs a command of djqueue."""
    return f"python manage.py {words(command, *arguments)}"


def words(*arguments: str) -> str:
    """Return arguments as a shell takes them, on one line. Names of queues may come from a store
    that others write to: none of them may be more than one word.
    """
    return shlex.join(map(one_line, arguments))
