"""Run programs that end with pytest's closing line, and add those lines up to one."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# "=== 3 failed, 120 passed, 2 skipped in 12.34s (0:00:12) ===", with or without the bars.
_CLOSING = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+,? ?)+)in [\d.]+s(?: \([\d:]+\))?(?: =+)?$")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_ORDER = (
    "failed",
    "passed",
    "skipped",
    "deselected",
    "xfailed",
    "xpassed",
    "rerun",
    "warning",
    "error",
)
# Streams of tests wait for half their time: two more go side by side than there are processors.
# With more, leases of a few seconds end because the machine has no time to renew them.
AT_ONCE = (os.cpu_count() or 1) + 2
_SINGULAR = {"warnings": "warning", "errors": "error"}


class Step(NamedTuple):
    """A program to run, and what to call it."""

    name: str
    command: Sequence[object]
    env: dict[str, str] = {}


class Closing:
    """What several pytest runs came to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.started = time.monotonic()
        self.failed: list[str] = []

    def run(self, *steps: Step, timeout: float | None = None, at_once: int | None = None) -> None:
        """Run programs side by side, show what they print one after another, remember their ends.

        The first one's lines are shown as they come. `timeout` is in seconds; when it is over the
        programs and their children are ended. At most `at_once` run at a time, in their order.
        """
        # Groups of their own only where they have to be ended; otherwise Ctrl-C reaches all.
        slots = threading.Semaphore(at_once or len(steps))
        running = [_Running(step, slots, own_group=timeout is not None) for step in steps]
        if timeout is not None:
            signal.signal(signal.SIGALRM, lambda *_: _signal(running, signal.SIGTERM))
            signal.alarm(int(timeout))
        try:
            for each in running:
                self._follow(each)
        except KeyboardInterrupt:
            for each in running:
                each.cancelled = True  # what waits for its turn does not start
            if timeout is not None:
                _signal(running, signal.SIGINT)
            for each in running:
                each.wait()
            raise
        finally:
            signal.alarm(0)

    def _follow(self, running: _Running) -> None:
        print(f"\n--- {running.name}", flush=True)
        last = None
        for line in running.lines():
            sys.stdout.write(line)
            sys.stdout.flush()
            last = _CLOSING.match(_COLOURS.sub("", line).strip()) or last
        if last:
            for number, word in re.findall(r"(\d+) ([a-z]+)", last[1]):
                self.counts[_SINGULAR.get(word, word)] += int(number)
        code = running.wait()
        print(f"--- {running.name}: {running.took:.0f} s", flush=True)
        if code:
            self.failed.append(f"{running.name} (exit code {code})")

    def show(self) -> int:
        """Print what failed and the sum as pytest would; return the exit code."""
        for name in self.failed:
            print(f"FAILED: {name}")
        if self.failed and not self.counts["failed"] and not self.counts["error"]:
            self.counts["error"] += len(self.failed)
        words = [f"{number} {spelt(word, number)}" for word, number in self._in_order()]
        took = time.monotonic() - self.started
        text = f" {', '.join(words) or 'no tests ran'} in {took:.2f}s "
        print(text.center(80, "="), flush=True)
        return 1 if self.failed else 0

    def _in_order(self) -> list[tuple[str, int]]:
        return [(word, self.counts[word]) for word in _ORDER if self.counts[word]]


class _Running:
    """A program and what it has printed so far."""

    def __init__(self, step: Step, slots: threading.Semaphore, *, own_group: bool) -> None:
        self.name = step.name
        self.process: subprocess.Popen[str] | None = None
        self.cancelled = False
        self.took = 0.0
        self._slots = slots
        self._printed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(step, own_group), daemon=True).start()

    def _run(self, step: Step, own_group: bool) -> None:
        with self._slots:
            if self.cancelled:
                self._printed.put(None)
                return
            started = time.monotonic()
            try:
                self.process = subprocess.Popen(
                    list(map(str, step.command)),
                    env={**os.environ, **step.env},
                    stdout=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=own_group,
                )
            except OSError as error:  # an environment could not be made
                self._printed.put(f"{error}\n")
                self._printed.put(None)
                return
            for line in self.process.stdout or ():
                self._printed.put(line)
            self.process.wait()
            self.took = time.monotonic() - started
        self._printed.put(None)

    def wait(self) -> int:
        """Its exit code; 1 if it was not started."""
        if self.process is None:
            return 1
        return self.process.wait()

    def lines(self) -> Iterator[str]:
        """What it prints, until its end."""
        while (line := self._printed.get()) is not None:
            yield line


def _signal(running: Sequence[_Running], number: signal.Signals) -> None:
    for each in running:
        each.cancelled = True
        if each.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, number)


def spelt(word: str, number: int) -> str:
    """Spell a word of the closing line as pytest does: two of them have a plural."""
    return f"{word}s" if number > 1 and word in _SINGULAR.values() else word
