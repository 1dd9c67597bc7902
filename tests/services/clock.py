"""A wall clock that a test can step, for the processes that are started with it.

The C library's functions are replaced in those processes, as a step of the machine's clock would
change their answers; clocks that only count seconds are left alone. Linux, with a C compiler.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_VARIABLE = "DJQUEUE_TEST_CLOCK"
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *step;

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("VARIABLE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) step = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int wrong = syscall(SYS_clock_gettime, clock, at);
    if (!wrong && clock == CLOCK_REALTIME && step) at->tv_sec += *step;
    return wrong;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    int wrong = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return wrong;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
# Before 3.11 Python waits for locks until a moment of the wall clock, which the kernel knows.
IS_POSSIBLE = (
    sys.platform == "linux" and sys.version_info >= (3, 11) and shutil.which("cc") is not None
)


class Clock:
    """The wall clock of some processes: the machine's, and so many seconds more or less."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), _VARIABLE: str(file)}
        file.write_bytes(struct.pack("q", 0))

    def step(self, seconds: float) -> None:
        """Be off by so many whole seconds from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", int(seconds)))


class Clocks:
    """Clocks for several groups of processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._library = folder / "clock.so"
        source = folder / "clock.c"
        source.write_text(_SOURCE.replace("VARIABLE", _VARIABLE))
        line = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        subprocess.run(line, check=True)
        folder.chmod(0o755)  # servers run as somebody else

    def make(self) -> Clock:
        self._count += 1
        return Clock(self._library, self._folder / f"step-{self._count}")


@contextlib.contextmanager
def clocks() -> Iterator[Clocks]:
    with tempfile.TemporaryDirectory(prefix="djqueue-clock-") as folder:
        yield Clocks(Path(folder))
