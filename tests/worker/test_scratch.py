"""What the processes of a worker share needs no folder for temporary files, and no room in one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from djqueue.models import FailedJob
from tests.app import jobs
from tests.support import ROOT, start_worker, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")


@linux
def test_no_process_of_a_worker_has_a_temporary_file(ledger):
    jobs.swallows_everything.using(tries=1).dispatch()
    with start_worker("--workers", 2) as worker:
        wait_until(lambda: ledger.lines("begin"))
        for pid in (worker.pid, *worker.children):
            files = _open(pid)
            assert any(file.startswith("/memfd:djqueue-page") for file in files)
            assert not [file for file in files if "deleted" in file and "/memfd:" not in file]
        wait_until(FailedJob.objects.exists)
    assert "in swallows_everything" in FailedJob.objects.get().exception  # the dump


def _open(pid: int) -> list[str]:
    files = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files.append(str(descriptor.readlink()))
    return files


FULL = """
import os, sys, tempfile
from pathlib import Path
tempfile.tempdir = sys.argv[1]
Path(sys.argv[1], "else").write_bytes(bytes(4096))
def missing(name): raise OSError("no such call")
os.memfd_create = missing
from djqueue.worker.children.page import StatusPage
try:
    StatusPage.create(100)
except OSError as error:
    print(error.strerror)
"""


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="to mount something is the administrator's")
def test_where_files_cannot_be_in_memory_a_full_disk_is_an_error_and_no_crash(
    tmp_path,
):
    """A hole in a file on a full disk kills whoever first writes to its memory."""
    mount = f'mount -t tmpfs -o size=4096 tmpfs {tmp_path} && exec "$@"'
    line = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", FULL, tmp_path]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "No space left on device\n"
