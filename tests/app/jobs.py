"""Jobs that workers under test run. What they do is in the ledger, a file outside every store."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha1
from typing import Any

from django.db import connection, transaction
from django.utils import timezone, translation

from djqueue import CurrentJob, Job, current_job, job
from djqueue.limits import define, funnel
from djqueue.middleware import RateLimited
from tests.app import (  # noqa: F401 - jobs too
    carrying,
    chained,
    editable,
    keeping,
    nasty,
    programs,
    secret,
    talking,
    unique,
    untidy,
)
from tests.app.models import Note
from tests.ledger import write


@job(name="app.record")
def record(number: int, seconds: float = 0.0) -> None:
    """Run for so long, and leave a line at the beginning and one at the end."""
    write("begin", number)
    if seconds:
        time.sleep(seconds)
    write("end", number)


@job(name="app.nothing")
def nothing() -> None:
    """Do nothing."""


@job(name="app.sturdy", tries=20, max_interruptions=50)
def sturdy(number: int, seconds: float = 0.0) -> None:
    """The same, for runs in which processes are killed."""
    write("begin", number)
    if seconds:
        time.sleep(seconds)
    write("end", number)


@job(name="app.frail", tries=2, max_interruptions=50)
def frail(number: int, seconds: float = 0.0) -> None:
    """The same with two tries."""
    write("begin", number)
    if seconds:
        time.sleep(seconds)
    write("end", number)


@job(name="app.beating", tries=20, max_interruptions=100)
def beating(number: int, seconds: float = 0.0, *, fails: bool = False) -> None:
    """Note a sign of life every 50 ms, so that two runs at the same time are seen."""
    write("begin", number)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
        write("beat", number)
    if fails:
        current_job().fail("as it was told to")
        return
    write("end", number)


@job(name="app.insert_note", tries=20, max_interruptions=50, atomic=True)
def insert_note(number: int, seconds: float = 0.0) -> None:
    """Insert a row, in the transaction that ends the job."""
    write("begin", number)
    Note.objects.create(text=str(number))
    if seconds:
        time.sleep(seconds)


@job(name="app.write_note")
def write_note(number: int) -> None:
    """Insert a row, through this process's own connection."""
    Note.objects.create(text=str(number))


@job(name="app.insert_note_in_default", atomic="default")
def insert_note_in_default(number: int) -> None:
    """The same where the queue lives in another database: guarded by a row beside the note."""
    Note.objects.create(text=str(number))


@job(name="app.boom", tries=1)
def boom(message: str = "boom") -> None:
    write("begin", message)
    raise ValueError(message)


@job(name="app.boom_with", tries=1)
def boom_with(text: str) -> None:
    """Raise with a text that comes as hexadecimal digits of its UTF-8."""
    write("begin", text)
    raise ValueError(bytes.fromhex(text).decode())


@job(name="app.boom_thrice", tries=3, backoff=[0, 0])
def boom_thrice() -> None:
    write("begin", current_job().attempt)
    raise ValueError("boom")


@job(name="app.sleeps_on", timeout=1)
def sleeps_on(seconds: float = 60.0) -> None:
    write("begin")
    time.sleep(seconds)


@job(name="app.loops_in_c", timeout=1)
def loops_in_c() -> None:
    """One call that never comes back to the interpreter."""
    write("begin")
    libc = ctypes.PyDLL(None)  # PyDLL keeps the interpreter's lock
    mutex = ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # waits for itself, and no signal wakes it


@job(name="app.swallows", timeout=1)
def swallows() -> None:
    """Catches what it can, and goes on."""
    write("begin")
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


@job(name="app.swallows_everything", timeout=1)
def swallows_everything() -> None:
    write("begin")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@job(name="app.interrupts_a_program")
def interrupts_a_program() -> None:
    """Start a program for each of these signals; how they end."""
    ends = []
    for name in ("INT", "USR1", "USR2", "TERM", "HUP", "QUIT"):
        program = subprocess.Popen(["sleep", "5"])
        program.send_signal(signal.Signals[f"SIG{name}"])
        ends.append(program.wait())
    write("end", ends)


@job(name="app.kills_itself", tries=3, backoff=0)
def kills_itself(number: int = 9) -> None:
    write("begin", current_job().attempt)
    os.kill(os.getpid(), number)
    time.sleep(5)


@job(name="app.exits")
def exits(code: int = 3) -> None:
    write("begin")
    os._exit(code)


@job(name="app.allocates_without_end")
def allocates_without_end() -> None:
    write("begin")
    hoard = []
    while True:
        hoard.append(bytearray(4 << 20))
        time.sleep(0.01)


@job(name="app.keeps_memory")
def keeps_memory(megabytes: int) -> None:
    write("begin")
    _HOARD.append(bytearray(os.urandom(1 << 20) * megabytes))


_HOARD: list[bytearray] = []


@job(name="app.leaves_transaction_open")
def leaves_transaction_open() -> None:
    write("begin")
    transaction.atomic().__enter__()
    Note.objects.create(text="never committed")


@job(name="app.changes_state")
def changes_state() -> None:
    translation.activate("de")
    timezone.activate("Asia/Seoul")
    connection.ensure_connection()


@job(name="app.tells_state")
def tells_state() -> None:
    write("state", f"{translation.get_language()} {timezone.get_current_timezone_name()}")


@job(name="app.runs_until_cancelled", timeout=30)
def runs_until_cancelled() -> None:
    write("begin")
    while not current_job().is_cancelled:
        time.sleep(0.05)
    write("cancelled")


@job(name="app.lingers_when_cancelled", timeout=30)
def lingers_when_cancelled(seconds: float) -> None:
    """Run for so long. When it is cancelled, take a second to leave."""
    write("begin")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
        if current_job().is_cancelled:
            write("cancelled")
            time.sleep(1)
            return
    write("end")


@job(name="app.fails_when_cancelled", timeout=30, tries=3)
def fails_when_cancelled() -> None:
    runs_until_cancelled()
    raise ValueError("nobody wants to know")


@job(name="app.ends_as_told", tries=2, timeout=20)
def ends_as_told(how: str, seconds: float) -> None:
    write("begin")
    time.sleep(seconds)
    if how == "raise":
        raise ValueError(how)
    if how == "release":
        current_job().release()
    if how == "fail":
        current_job().fail(how)
    write("end")


class Tells(Job, name="app.Tells", tries=1):
    """Has a `failed()`."""

    how: str

    def handle(self) -> None:
        write("begin", self.how)
        if self.how == "raise":
            raise ValueError("no")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            time.sleep(60)

    def failed(self, error: BaseException) -> None:
        write("failed", f"{type(error).__name__}: {error}"[:60])


class HandsOn(Job, name="app.HandsOn", tries=1):
    """Fails, and has another job do something about it."""

    number: int

    def handle(self) -> None:
        raise ValueError("no")

    def failed(self, error: BaseException) -> None:
        record.dispatch(self.number)


class Weighs(Job, name="app.Weighs", tries=1):
    """Takes a large argument, and says whether it is still the same."""

    text: str
    how: str = ""

    def handle(self) -> None:
        write("begin", digest(self.text))
        if self.how == "raise":
            raise ValueError("no")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "release" and current_job().attempt == 1:
            current_job().release()

    def failed(self, error: BaseException) -> None:
        write("failed", digest(self.text))


class WeighsAtomically(Weighs, name="app.WeighsAtomically", atomic=True):
    """The same, and its end is part of its transaction."""


def digest(text: str) -> str:
    """A few characters that stand for a long text."""
    return f"{len(text)} {sha1(text.encode()).hexdigest()}"


@job(name="app.says")
def says(text: str) -> None:
    """Print."""
    print(text, flush=True)


def comes(job: CurrentJob, next: Callable[[CurrentJob], Any]) -> Any:  # noqa: A002
    """Each reserve of the job, whether a limit lets it pass or not."""
    write("comes")
    return next(job)


define("tests.ten", allow=10, every=1)


@job(name="app.limited", middleware=[comes, RateLimited("tests.ten")])
def limited() -> None:
    write("passes")


@job(name="app.narrow", tries=20, max_interruptions=50, timeout=20, middleware=[comes])
def narrow(seconds: float) -> None:
    with funnel("tests.three", 3):
        write("enters")
        time.sleep(seconds)
        write("leaves")
