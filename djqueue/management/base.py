"""What all commands share: errors and exit codes, questions, output.

Exit codes: 0 done, 1 error, 2 wrong usage or nobody can be asked, 3 no id or filter matched, 4 a
threshold is exceeded.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from djqueue.conf import settings
from djqueue.errors import JobNotFound, QueueError
from djqueue.management.options import USAGE
from djqueue.management.output import json_line, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["NOTHING_MATCHED", "OVER", "USAGE", "QueueCommand", "number_of"]

NOTHING_MATCHED = 3
OVER = 4


class QueueCommand(BaseCommand):
    """The base of the queue's commands.

    They run without the project's system checks: whoever needs them may be in the middle of an
    incident. A `QueueError` ends a command with its text and exit code 1.
    """

    requires_system_checks = ()
    _color = True

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, with every error told as one line."""
        self._color = not options["no_color"]
        try:
            done = super().execute(*args, **options)
            self.stdout.flush()
            return done
        except BrokenPipeError:
            # Who reads has seen enough. Nothing may be left for Python to write when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except JobNotFound as error:
            raise CommandError(str(error), returncode=NOTHING_MATCHED) from error
        except QueueError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(_explained(error)) from error

    def usage(self, text: str) -> CommandError:
        """The error for a wrong call."""
        return CommandError(f"{text} See: python manage.py help {self._name()}", returncode=USAGE)

    def confirm(self, what: str, options: Mapping[str, Any]) -> None:
        """Ask before `what` is done, which is a sentence; ``--force`` answers yes."""
        if options["force"]:
            return
        if not sys.stdin.isatty():
            look = ", or look first with --dry-run" if "dry_run" in options else ""
            raise CommandError(
                f"{what} Input is not a terminal, so it cannot ask. Repeat with --force{look}. "
                "Nothing was changed.",
                returncode=USAGE,
            )
        self.stderr.write(f"{what} Go on? [y/N] ", ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError("Stopped. Nothing was changed.")

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on a terminal, lines in a pipe."""
        write_rows(self.stdout, columns, rows, color=self._color)

    def json(self, data: Mapping[str, Any]) -> None:
        """One JSON object on a line."""
        self.stdout.write(json_line(data))

    def report_unknown(self, unknown: Sequence[JobNotFound], known: int) -> None:
        """Tell of ids that stand for no job. Exit code 3 if none did, 1 if some did."""
        if unknown:
            raise CommandError(
                "\n".join(map(str, unknown)), returncode=1 if known else NOTHING_MATCHED
            )

    def nothing_matched(self, text: str) -> CommandError:
        """The error for a filter that no job fits."""
        return CommandError(text, returncode=NOTHING_MATCHED)

    def operator(self) -> str:
        """Who runs the command, for the record."""
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container without a passwd entry
            return ""

    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def number_of(number: int, noun: str) -> str:
    """``"1 failed job"``, ``"12,431 failed jobs"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _explained(error: DatabaseError) -> str:
    """What a database error means to whoever typed the command."""
    for alias in settings().databases:
        try:
            tables = connections[alias].introspection.table_names()
        except DatabaseError:
            return f'Database "{alias}" cannot be used: {error}'
        if "failed_jobs" not in tables:
            other = "" if alias == "default" else f" --database {alias}"
            return (
                f'djqueue\'s tables do not exist in database "{alias}": its migrations have not '
                f"run there. Run `python manage.py migrate djqueue{other}`."
            )
    return f"{type(error).__name__}: {error}"
