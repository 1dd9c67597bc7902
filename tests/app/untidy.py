"""Jobs that leave their process, or their connections, other than they found them."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from djqueue import current_job, job, queues, signals
from djqueue.models import FailedJob
from tests.app.models import Note
from tests.ledger import write

_seen: list[Any] = []


@job(name="app.leaves_a_transaction")
def leaves_a_transaction(number: int) -> None:
    """Django does not hear of it."""
    Note.objects.exists()
    raw = connection.connection
    cursor = raw.cursor()
    cursor.execute("BEGIN")
    table = connection.ops.quote_name(Note._meta.db_table)
    cursor.execute(f"INSERT INTO {table} (text) VALUES ('left {number}')")
    cursor.close()


@job(name="app.closes_its_session")
def closes_its_session() -> None:
    """Django does not hear of it."""
    Note.objects.exists()
    connection.connection.close()


@job(name="app.translates_its_timeout", timeout=0.3, tries=1)
def translates_its_timeout() -> None:
    try:
        _sleep_in_sql(5)
    except BaseException as error:
        raise ValueError("something else") from error


def _sleep_in_sql(seconds: float) -> None:
    write("begin", "sleep")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
        elif connection.vendor == "mysql":
            cursor.execute("SELECT SLEEP(%s)", [seconds])
        else:
            time.sleep(seconds)


@job(name="app.same_session")
def same_session() -> None:
    """Note whether its connection is the one that this job had before."""
    Note.objects.exists()
    write("same", connection.connection in _seen)
    _seen[:] = [connection.connection]


@job(name="app.upsets_its_process")
def upsets_its_process() -> None:
    for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGTERM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGUSR2})
    os.chdir("/")
    os.umask(0o777)
    os.environ["DJQUEUE_TEST_LEFT"] = "1"
    del os.environ["DJQUEUE_TEST_GIVEN"]


@job(name="app.looks_around")
def looks_around() -> None:
    umask = os.umask(0)
    os.umask(umask)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = [str(signal.getsignal(n)) for n in (signal.SIGUSR1, signal.SIGTERM, signal.SIGPROF)]
    environment = [os.environ.get(f"DJQUEUE_TEST_{name}") for name in ("LEFT", "GIVEN")]
    write("around", [str(Path.cwd()), umask, len(blocked), handlers, environment])


@job(name="app.sleeps_beyond_its_timeout", timeout=0.3, tries=1)
def sleeps_beyond_its_timeout() -> None:
    time.sleep(10)


@job(name="app.forks_a_twin", tries=1)
def forks_a_twin(how: str) -> None:
    """The twin comes out of the job before the original."""
    Note.objects.create(text=how)
    pid = os.fork()
    if pid == 0:
        if how == "raises":
            raise ValueError("in the twin")
        if how == "exits":
            sys.exit(7)
        return
    _, status = os.waitpid(pid, 0)
    write("twin", os.waitstatus_to_exitcode(status))
    time.sleep(0.3)
    write("end", how)


@job(name="app.exits_by_python", tries=1)
def exits() -> None:
    sys.exit(3)


@job(name="app.fails_with_much_in_hand", tries=20)
def fails_with_much_in_hand() -> None:
    much = bytearray(5 << 20)
    write("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    raise ValueError(len(much))


@job(name="app.commits_and_dies", atomic=True, tries=1)
def commits_and_dies(text: str) -> None:
    Note.objects.create(text=text)
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))


@job(name="app.dies_once", tries=2)
def dies_once() -> None:
    if current_job().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@job(name="app.hangs", tries=2, timeout=1)
def hangs() -> None:
    """Deaf to its soft timeout."""
    while current_job().attempt == 1:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 - as some jobs do
            write("deaf")


@job(name="app.leaves_when_asked", tries=1)
def leaves_when_asked(number: int) -> None:
    write("begin", current_job().attempt)
    while number and not current_job().is_stopping:
        time.sleep(0.02)
    current_job().release()


@job(name="app.never_interrupted", max_interruptions=0)
def never_interrupted() -> None:
    write("begin")
    time.sleep(60)


def hear(signal: Any, what: str) -> None:
    """Note who sent `signal`, and about which job."""

    def receive(sender: Any, job: Any, **given: Any) -> None:
        if job.name.startswith(("app.hangs", "app.dies_once", "app.never_interrupted")):
            told = {key: given[key] for key in ("delay", "duration") if key in given}
            write(what, [getattr(sender, "__name__", None), job.connection, job.attempt, told])

    signal.connect(receive, weak=False)


hear(signals.job_timed_out, "timed out")
hear(signals.job_released, "released")
hear(signals.job_cancelled, "cancelled")


@job(name="app.heard_done")
def heard_done() -> None:
    write("begin")


@job(name="app.heard_failed", tries=1)
def heard_failed() -> None:
    raise ValueError("no funds")


@job(name="app.heard_released", tries=2, backoff=3600)
def heard_released() -> None:
    raise ValueError("not yet")


def look(signal: Any, what: str) -> None:
    """Note what the store and the failed jobs hold when `signal` is received."""

    def receive(sender: Any, job: Any, **given: Any) -> None:
        counts = queues[job.connection].inspector.counts("default")
        write(what, [job.name, counts.reserved, FailedJob.objects.count()])

    signal.connect(receive, weak=False)


if getattr(settings, "LOOKS_WHEN_ANNOUNCED", False):
    look(signals.job_succeeded, "succeeded")
    look(signals.job_failed, "failed")
    look(signals.job_released, "released")
