"""Run programs that end with pytest's closing line, and add those lines up to one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

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
_SINGULAR = {"warnings": "warning", "errors": "error"}


class Closing:
    """What several pytest runs came to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.started = time.monotonic()
        self.failed: list[str] = []

    def run(
        self,
        name: str,
        command: Sequence[object],
        env: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Run a command, show what it prints as it comes, and remember its end.

        `timeout` is in seconds; when it is over the command and its children are ended.
        """
        print(f"\n--- {name}", flush=True)
        process = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            # A group of its own only where it has to be ended; otherwise Ctrl-C reaches all of it.
            start_new_session=timeout is not None,
        )
        try:
            self._follow(process, timeout)
        except KeyboardInterrupt:
            if timeout is not None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise
        if process.returncode:
            self.failed.append(f"{name} (exit code {process.returncode})")

    def _follow(self, process: subprocess.Popen[str], timeout: float | None) -> None:
        if timeout is not None:
            signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGTERM))
            signal.alarm(int(timeout))
        last = None
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            last = _CLOSING.match(_COLOURS.sub("", line).strip()) or last
        process.wait()
        signal.alarm(0)
        if last:
            for number, word in re.findall(r"(\d+) ([a-z]+)", last[1]):
                self.counts[_SINGULAR.get(word, word)] += int(number)

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


def spelt(word: str, number: int) -> str:
    """Spell a word of the closing line as pytest does: two of them have a plural."""
    return f"{word}s" if number > 1 and word in _SINGULAR.values() else word
