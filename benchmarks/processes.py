"""What processes cost, from /proc: processor time and memory. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.services.processes import descendants

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    return [pid, *descendants(pid)]


def processor_seconds(pids: Iterable[int]) -> float:
    """Time on a processor so far, with that of children that have ended."""
    return sum(_seconds(pid) for pid in pids)


def _seconds(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK


def proportional_megabytes(pids: Iterable[int]) -> float:
    """Memory, where what several processes share is divided among them (PSS)."""
    return sum(_proportional(pid) for pid in pids) / 1024


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
