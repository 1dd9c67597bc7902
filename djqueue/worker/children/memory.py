"""How much memory a process occupies."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = Path("/proc/self/statm").exists()


def resident(pid: int) -> int:
    """Resident bytes of process `pid`; 0 if it is gone."""
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
