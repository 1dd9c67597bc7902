"""Jobs that print, and jobs that disturb what their process says to its worker."""

from __future__ import annotations

import atexit
import contextvars
import os
import signal
import threading
import time

from djqueue import job
from tests.ledger import write


@job(name="app.prints", tries=1)
def prints(number: int, seconds: float = 0.0) -> None:
    """One line, and the beginning of one."""
    print(f"said {number}")
    print(f"began {number}", end="")
    time.sleep(seconds)
    write("end", number)


@job(name="app.says_goodbye")
def says_goodbye() -> None:
    """Have something done when the process ends, as error trackers do."""

    def send() -> None:
        time.sleep(0.3)
        write("sent", "report")

    context = contextvars.copy_context()
    sender = threading.Thread(target=context.run, args=(send,), daemon=True)
    sender.start()
    atexit.register(sender.join)
    write("end", "goodbye")


@job(name="app.never_ends_its_process")
def never_ends_its_process() -> None:
    atexit.register(time.sleep, 60)
    write("end", "never")


@job(name="app.writes_into_every_pipe", tries=1, max_interruptions=1)
def writes_into_every_pipe() -> None:
    """By mistake, into descriptors that are not its own."""
    write("begin")
    for descriptor in range(3, 64):
        try:
            if os.fstat(descriptor).st_mode & 0o170000 == 0o010000:
                os.write(descriptor, b"x" * 64)
        except OSError:
            continue


@job(name="app.closes_its_descriptors", tries=1, max_interruptions=0)
def closes_its_descriptors(seconds: float = 30.0) -> None:
    write("begin")
    os.closerange(3, 256)
    time.sleep(seconds)


@job(name="app.fails_at_length_while_interrupted", tries=1)
def fails_at_length_while_interrupted() -> None:
    """A report larger than a pipe, while signals come."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    main = threading.main_thread().ident
    assert main is not None

    def disturb() -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.0002)

    threading.Thread(target=disturb, daemon=True).start()
    raise ValueError("é" * 900 + "".join(chr(0x4E00 + n % 5000) for n in range(100_000)))


@job(name="app.fails_at_length", tries=1)
def fails_at_length() -> None:
    """With a traceback of about 64 KiB of characters that take three bytes each."""
    try:
        raise ValueError("一" * 60_000)
    except ValueError as error:
        raise RuntimeError("the second") from error
