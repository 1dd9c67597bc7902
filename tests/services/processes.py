"""Which processes a process has started."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on; nearest first."""
    children = _children_by_parent()
    found: list[int] = []
    generation = [pid]
    while generation:
        generation = [child for parent in generation for child in children[parent]]
        found += generation
    return found


def _children_by_parent() -> defaultdict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for child, parent in _pairs_of_proc() if Path("/proc/self/stat").exists() else _pairs_of_ps():
        children[parent].append(child)
    return children


def _pairs_of_proc() -> list[tuple[int, int]]:
    pairs = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        # The program's name, in brackets, may hold spaces and brackets itself.
        pairs.append((int(folder.name), int(text.rpartition(")")[2].split()[1])))
    return pairs


def _pairs_of_ps() -> list[tuple[int, int]]:
    command = ["ps", "-A", "-o", "pid=,ppid="]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [(int(pid), int(parent)) for pid, parent in map(str.split, table.splitlines())]
