"""On what it was measured, in words that name no machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import django


def describe() -> dict[str, str]:
    """The kind of machine and what runs on it."""
    virtual = " in a virtual machine" if _is_virtual() else ""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}{virtual}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "django": django.get_version(),
        "psycopg": _version("psycopg"),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    return _line("model name") or platform.machine()


def _is_virtual() -> bool:
    return "hypervisor" in _line("flags").split()


def _line(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(key))
    return next(found, "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
