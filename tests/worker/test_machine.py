"""What a container lets a worker have."""

from __future__ import annotations

from pathlib import Path

import pytest

from djqueue.worker import machine

MB = 1 << 20


def write(root: Path, own: str, **files: str) -> dict[str, Path]:
    """A file system with control groups; `files` are named with two underscores for a slash."""
    (root / "own").write_text(own)
    for name, text in files.items():
        file = root / "fs" / name.replace("__", "/").replace("_MAX", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {"root": root / "fs", "own": root / "own"}


def test_a_quota_of_processors_counts(tmp_path):
    place = write(tmp_path, "0::/box/worker\n", box__cpu_MAX="50000 100000\n", cpu_MAX="max 100000")
    assert machine.processors(**place) == 1


def test_the_older_files_count_as_well(tmp_path):
    place = write(tmp_path, "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n")
    cpu, memory = (tmp_path / "fs" / name for name in ("cpu,cpuacct", "memory"))
    for folder in (cpu, memory):
        folder.mkdir(parents=True)
    (cpu / "cpu.cfs_quota_us").write_text("100000\n")
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    (memory / "memory.limit_in_bytes").write_text(f"{512 * MB}\n")
    assert machine.processors(**place) == 1
    assert machine.memory(**place) == 512 * MB


def test_no_limit_is_no_limit(tmp_path):
    place = write(tmp_path, "0::/\n", cpu_MAX="max 100000\n", memory_MAX="max\n")
    assert machine.memory(**place) == 0
    assert machine.processors(**place) >= 1
    nowhere = {"root": tmp_path / "no", "own": tmp_path / "none"}
    assert machine.memory(**nowhere) == 0
    assert machine.processors(**nowhere) >= 1


@pytest.mark.parametrize("megabytes", [1, 100, 1000])
def test_there_are_never_more_children_than_memory_and_never_none(tmp_path, megabytes):
    place = write(tmp_path, "0::/\n", memory_MAX=str(megabytes * MB))
    assert 1 <= machine.children(**place) <= max(1, megabytes // 20)
