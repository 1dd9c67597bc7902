"""`queue_command`: a management command as a job."""

from __future__ import annotations

import copy
import io
import threading
import time
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from djqueue.conf import did_you_mean, settings
from djqueue.errors import CommandFailed, InvalidCommand
from djqueue.jobs.job import Job, field
from djqueue.text.tracebacks import add_note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.core.management import BaseCommand

__all__ = ["QueuedCommand", "queue_command"]

REFUSED = frozenset(
    {
        *("shell", "dbshell", "shell_plus", "runserver", "runserver_plus", "testserver", "test"),
        *("migrate", "makemigrations", "squashmigrations", "optimizemigration"),
        *("flush", "reset_db", "reset_schema", "drop_test_database", "loaddata"),
        *("createsuperuser", "changepassword"),
        *("diffsettings", "print_settings", "startapp", "startproject", "runscript"),
        *("queue_work", "queue_listen", "queue_run", "make_job", "make_event", "make_listener"),
    }
)
"""Commands that wait for input, run for ever, change or empty the whole database, run any code,
make accounts, write code, or show secrets: no setting allows them."""

KEPT = 64 * 1024
"""Bytes of the end of the output that are kept."""
TAIL = 2_000
"""Characters of the end of the output that an error shows."""
EVERY = 0.5
"""Seconds from one message of progress to the next."""


def queue_command(name: str, /, *args: object, **options: object) -> QueuedCommand:
    """Return a job that runs a management command, with the arguments of Django's
    ``call_command()``.

        queue_command("clearsessions").dispatch()
        queue_command("import_orders", "orders.csv", dry_run=True).using(queue="slow").dispatch()

    Raises `InvalidCommand` where there is no such command, it does not take these arguments, or it
    may not be queued.
    """
    _parsed(name, args, options)
    texts: list[str] = []
    for each in args:  # as call_command() reads them
        texts += map(str, each) if isinstance(each, (list, tuple)) else [str(each)]
    return QueuedCommand(name, texts, dict(options))


class QueuedCommand(Job, name="djqueue.command", store_result=True, fail_on=InvalidCommand):
    """Runs a management command. `queue_command` makes it."""

    command: str
    arguments: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def display_name(self) -> str:
        """Return what operators read."""
        return f"command {self.command}"

    def handle(self) -> dict[str, Any]:
        """Run the command. Return its ``exit_code``, which is 0, and the end of its ``output``.

        Raises `CommandFailed` for another exit code, and what the command raises.
        """
        parsed = _parsed(self.command, self.arguments, self.options)
        options = {**self.options, **_without_terminal(parsed)}
        output = _Output(lambda line: self.job.progress(0, 1, line))
        code = _run(self.command, self.arguments, options, output)
        if code:
            raise CommandFailed(
                f'The command "{self.command}" ended with exit code {code}. The end of its '
                f"output:\n{output.text[-TAIL:]}"
            )
        return {"exit_code": code, "output": output.text}


def _parsed(name: str, args: Sequence[object], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a command as they would be for this call. Raises `InvalidCommand`."""
    from django.core.management import CommandError, call_command

    command = _found(name)
    if given := sorted({"stdout", "stderr"} & options.keys()):
        raise InvalidCommand(f"{' and '.join(given)} cannot be queued: the output is the result.")
    parsed: dict[str, Any] = {}

    def note(*_: object, **given: Any) -> None:
        parsed.update(given)

    command.execute = note  # type: ignore[method-assign]
    try:
        call_command(command, *args, **options)
    except (CommandError, TypeError, ValueError) as error:
        raise InvalidCommand(f'The command "{name}" cannot be called like this: {error}') from error
    except SystemExit as error:  # of --help and --version
        raise InvalidCommand(f'The command "{name}" would only print a text, and end.') from error
    return parsed


def _found(name: str) -> BaseCommand:
    """Return the command, for this caller alone. Raises `InvalidCommand` where it may not run."""
    from django.core.management import BaseCommand, get_commands, load_command_class

    allowed = settings().commands
    if name in REFUSED:
        raise InvalidCommand(f'The command "{name}" is never run by a job.')
    if allowed is not None and name not in allowed:
        raise InvalidCommand(f'The command "{name}" is not listed in DJQUEUE["COMMANDS"].')
    known = get_commands()
    if name not in known:
        raise InvalidCommand(f'There is no command "{name}".{did_you_mean(name, known)}')
    found = known[name]
    return copy.copy(found) if isinstance(found, BaseCommand) else load_command_class(found, name)


def _without_terminal(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a command that has no terminal: it asks nothing, and has no colours."""
    more: dict[str, Any] = {}
    if "interactive" in parsed:
        more["interactive"] = False
    if not parsed.get("force_color"):
        more["no_color"] = True
    return more


def _run(name: str, args: Sequence[str], options: Mapping[str, Any], output: _Output) -> int:
    """Run a command, and return its exit code."""
    from django.core.management import CommandError, call_command

    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            # What it prints itself too. In another thread that would be the output of all threads.
            stack.enter_context(redirect_stdout(output))
            stack.enter_context(redirect_stderr(output))
        try:
            call_command(name, *args, **options, stdout=output, stderr=output)
        except CommandError as error:
            output.write(f"{type(error).__name__}: {error}\n")
            return error.returncode
        except SystemExit as error:
            if error.code is None or isinstance(error.code, int):
                return error.code or 0
            output.write(f"{error.code}\n")  # as Python does
            return 1
        except Exception as error:
            if said := output.text[-TAIL:]:
                add_note(error, f'The end of the output of the command "{name}":\n{said}')
            raise
        finally:
            output.end()
    return 0


class _Output(io.TextIOBase):
    """What a command writes: its end is kept, and the last line is handed to `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._kept = ""
        self._said_at = -EVERY
        self._line = self._said = ""

    @property
    def text(self) -> str:
        """The end of the output, at most 64 KiB of UTF-8."""
        return self._kept.encode("utf-8", "replace")[-KEPT:].decode("utf-8", "ignore")

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._kept += text.replace("\0", " ")
        if len(self._kept) > 2 * KEPT:
            self._kept = self._kept[-KEPT:]
        if not text.isspace() and text:
            self._line = [line for line in text.splitlines() if line.strip()][-1]
            if time.monotonic() - self._said_at >= EVERY:
                self.end()
        return len(text)

    def end(self) -> None:
        """Hand on the last line, if it is another one than before."""
        if self._line != self._said:
            self._said, self._said_at = self._line, time.monotonic()
            self._say(self._line.strip())
