"""What this machine, or the container that this process is in, lets a worker have, and what a
process uses.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = Path("/proc/self/statm").exists()


def processors(root: Path = ROOT, own: Path = SELF) -> int:
    """Return the number of processors that this process may use at the same time, at least 1."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for folder in _folders("cpu", root, own):
        quota = _quota(folder)
        if quota:
            count = min(count, math.ceil(quota))
    return max(1, count)


def memory(root: Path = ROOT, own: Path = SELF) -> int:
    """Return the bytes that this process and its children may occupy; 0 if only the machine limits
    them.
    """
    limits = [
        _number(folder / name)
        for folder in _folders("memory", root, own)
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    # Without a limit, the older files have the largest number that there is.
    return int(min((limit for limit in limits if 0 < limit < 1 << 60), default=0))


def children(root: Path = ROOT, own: Path = SELF) -> int:
    """Return the number of children to start by default: one for each processor, within the
    memory.
    """
    count, limit, used = processors(root, own), memory(root, own), resident(os.getpid())
    if limit and used:
        count = min(count, limit // used - 2)  # two: the parent and its warden
    return max(1, count)


def resident(pid: int) -> int:
    """Return the resident bytes of process `pid`; 0 if it has ended."""
    statm = Path(f"/proc/{pid}/statm")
    if _HAS_PROC:
        try:
            return int(statm.read_bytes().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0
    answer = subprocess.run(
        ["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=False
    )
    return int(answer.stdout or 0) * 1024


def _folders(controller: str, root: Path, own: Path) -> list[Path]:
    """Return the control group of this process and those above it, of both versions."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        mounted = root / names if (root / names).exists() else root / controller
        group = Path(path.lstrip("/"))
        # In a container the path may be that of the host: what is mounted then is our own group.
        found += [(mounted if names else root) / part for part in (group, *group.parents)]
    return found


def _quota(folder: Path) -> float:
    """Return the number of processors, or 0 for no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    quota_us, period_us = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota_us / period_us if quota_us > 0 and period_us > 0 else 0.0


def _number(file: Path) -> float:
    try:
        return float(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return 0.0
