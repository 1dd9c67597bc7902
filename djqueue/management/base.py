"""What all commands share: errors and exit codes, questions, output.

Exit codes: 0 done, 1 error, 2 wrong usage or a question without a terminal, 3 no id or filter
matched, 4 a threshold is exceeded, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from djqueue.compat import stream_of
from djqueue.conf import settings
from djqueue.errors import JobNotFound, QueueError
from djqueue.management.checking import add_skip_checks, refuse_errors
from djqueue.management.help import ManPage, describe
from djqueue.management.options import USAGE
from djqueue.management.output import Printable, json_line, write_entries, write_rows
from djqueue.operations import audit as auditing
from djqueue.operations.words import in_english, listed, number_of
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.core.management.base import CommandParser

    from djqueue.operations.results import Reason, Result

__all__ = ["INTERRUPTED", "NOTHING_MATCHED", "OVER", "USAGE", "QueueCommand"]

MOST_NAMED = 20
"""Jobs that were left, and that a message names one by one."""
NOTHING_MATCHED = 3
OVER = 4
INTERRUPTED = 130
"""As a shell says it of a program that Ctrl-C has ended."""


class QueueCommand(BaseCommand):
    """The base of the queue's commands.

    They run without the project's system checks: their user may be in the middle of an
    incident. Those that change something run djqueue's own. A `QueueError` ends a command with its
    text and exit code 1. What they print holds no character that a terminal would act upon.
    """

    requires_system_checks = ()
    changes = True
    """Whether it changes something, so that djqueue's checks have to be content."""
    examples: ClassVar[Sequence[str]] = ()
    """Command lines that the help shows."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """With ``--skip-checks`` where there are any."""
        parser = super().create_parser(prog_name, subcommand, formatter_class=ManPage, **kwargs)
        describe(parser, self.help, self.examples)
        if self.changes:
            add_skip_checks(parser)
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, and report every error as one line."""
        style = self.stderr.style_func
        self.stdout = Printable(options.pop("stdout", None) or stream_of(self.stdout))
        self.stderr = Printable(options.pop("stderr", None) or stream_of(self.stderr))
        self.stderr.style_func = style
        try:
            if self.changes and not options.pop("skip_own_checks", False):
                refuse_errors()
            # In English, as the rest of what Django's commands print.
            with in_english():
                done = super().execute(*args, **options)
            self.stdout.flush()
            return done
        except BrokenPipeError:
            # Who reads has seen enough. Nothing may be left for Python to write when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except KeyboardInterrupt:
            self.stop("Stopped by Ctrl-C. What was done before stays done.", INTERRUPTED)
        except JobNotFound as error:
            raise CommandError(printable_error(error), returncode=NOTHING_MATCHED) from error
        except QueueError as error:
            raise CommandError(printable_error(error)) from error
        except DatabaseError as error:
            raise CommandError(one_line(masked_text(_explained(error)))) from error

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
        self.stderr.write(f"{what} Continue? [y/N] ", _plain, ending="")
        self.stderr.flush()
        try:
            answer = sys.stdin.readline().strip().lower()
        except KeyboardInterrupt:
            self.stop("\nStopped. Nothing was changed.", INTERRUPTED)
        if answer not in ("y", "yes"):
            self.stop("Stopped. Nothing was changed.", 1)

    def stop(self, text: str, code: int) -> NoReturn:
        """End the command because its user said so, which is no error."""
        self.stderr.write(text, _plain)
        sys.exit(code)

    def remark(self, text: str) -> None:
        """Write something beside the result, if there is something to say."""
        if text:
            self.stderr.write(printable_error(text), _plain)

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on a terminal, lines in a pipe."""
        write_rows(self.stdout, columns, rows)

    def entries(
        self, columns: Sequence[str], entries: Iterable[tuple[Sequence[object], str]]
    ) -> None:
        """A table with a second line to each row, on a terminal."""
        write_entries(self.stdout, columns, entries)

    def json(self, data: Mapping[str, Any]) -> None:
        """One JSON object on a line."""
        self.stdout.write(json_line(data))

    def report_unknown(self, unknown: Sequence[JobNotFound], known: int) -> None:
        """Tell of ids that stand for no job. Exit code 3 if none did, 1 if some did."""
        if unknown:
            raise CommandError(
                "\n".join(map(printable_error, unknown)), returncode=1 if known else NOTHING_MATCHED
            )

    def report(
        self,
        verb: str,
        done: str,
        result: Result,
        filters: Mapping[str, object],
        *,
        by_id: bool,
    ) -> None:
        """Say what was changed, and keep it on record. `done` is the past tense of `verb`."""
        changed = [(target.name, target.id) for target in result.changed]
        ids = [id for _name, id in changed]
        self.audit(verb, len(changed), kept=len(result.left), filters=filters, ids=ids)
        if changed or not by_id:
            which = f"\n    {listed(changed)}" if changed else ""
            self.stdout.write(f"{done} {number_of(len(changed), 'job')}.{which}")

    def report_left(
        self, result: Result, done: str, hints: Mapping[Reason, str], *, by_id: bool
    ) -> None:
        """Report the jobs that were left unchanged and why, with a hint for some reasons. This is
        an error if the user named the jobs by id, or if the work stopped early. With a filter it is
        only reported: a filter means the jobs that fit at the moment.
        """
        texts = []
        for reason, kept in result.reasons:
            if by_id and len(kept) <= MOST_NAMED:
                texts += [
                    f"{each.target.id if each.target else '1 job'} was not {done}: {each.why}"
                    for each in kept
                ]
            else:
                why = kept[0].why if len(kept) == 1 else str(reason.many)
                was = "was" if len(kept) == 1 else "were"
                texts.append(f"{number_of(len(kept), 'job')} {was} not {done}: {why}")
            texts[-1] = f"{texts[-1]} {hints.get(reason, '')}".rstrip()
        if texts and (by_id or result.stopped is not None):
            raise CommandError("\n".join(map(printable_error, texts)))
        for text in texts:
            self.stderr.write(printable_error(text))

    def nothing_matched(self, text: str) -> CommandError:
        """The error for a filter that no job fits."""
        return CommandError(text, returncode=NOTHING_MATCHED)

    def operator(self) -> str:
        """Who runs the command, for the record."""
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container without a passwd entry
            return ""

    def audit(
        self,
        verb: str,
        changed: int,
        *,
        kept: int = 0,
        filters: Mapping[str, object] | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        """Keep on record who changed what; nothing where nothing was changed."""
        if changed:
            who = f"{self.operator()} ({self._name()})"
            auditing.record(who, verb, changed, kept=kept, filters=filters, ids=ids)

    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def _plain(text: str) -> str:
    return text


def printable_error(error: object) -> str:
    """An error's text, for people."""
    return one_line(masked_text(str(error)))


def _explained(error: DatabaseError) -> str:
    """What a database error means to the user of a command."""
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
