"""supervisor runs the unit that `queue_deploy` prints."""

from __future__ import annotations

import getpass
import io
import os
import re
import signal
import subprocess
import sys

import pytest
from django.core.management import call_command

from djqueue.models import Worker
from tests.app import jobs
from tests.services.processes import descendants
from tests.support import ROOT, environment, wait_until


def unit(folder):
    """The unit, with nothing changed but where it logs and when a start counts as one."""
    out = io.StringIO()
    options = {"workers": 1, "processes": 2, "grace": 20, "user": getpass.getuser()}
    call_command("queue_deploy", "supervisor", name="shop", stdout=out, **options)
    text = re.sub(
        "stdout_logfile=.*", f"stdout_logfile={folder}/%(process_num)d.log", out.getvalue()
    )
    return text.replace("startsecs=5", "startsecs=1")


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.worker_settings")
    path = tmp_path / "supervisord.conf"
    own = f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/own.log\npidfile={tmp_path}/own.pid\n"
    path.write_text(own + unit(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)],
        env={**os.environ, **environment()},
        cwd=ROOT,
    )
    yield process
    if process.poll() is None:
        for pid in (process.pid, *descendants(process.pid)):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.mark.anywhere
@pytest.mark.wallclock
def test_two_workers_are_started_again_and_end_within_the_grace(
    ledger, transactional_db, supervisor, tmp_path
):
    def pids():
        return {each.pid for each in Worker.objects.all() if each.pid not in killed}

    killed = set()
    first = wait_until(lambda: pids() if len(pids()) == 2 else None, what="two workers")
    killed.add(min(first))
    os.kill(min(first), signal.SIGKILL)
    wait_until(lambda: len(pids()) == 2, what="a third worker in the place of the killed one")
    jobs.record.dispatch(1, seconds=1.0)
    wait_until(lambda: ledger.lines("begin"))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(15) == 0
    assert ledger.details("end") == ["1"], "what ran has ended within the grace"
    assert not pids()
    said = [path.read_text() for path in sorted(tmp_path.glob("?.log"))]
    assert [text.count("Reason: a signal.") for text in said] == [1, 1]
