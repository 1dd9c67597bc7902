"""Dispatch a job that fails, run a worker, and write down which of some functions are called, in
order: ``python -m tests.docs.walk FILE jobs/job.py:dispatch …``. Children inherit the hook.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

import django
from django.core.management import call_command

import djqueue
from djqueue import signals

PACKAGE = f"{Path(djqueue.__file__).parent}{os.sep}"


def hear(**_: object) -> None:
    """A receiver."""


def main(file: str, wanted: set[str]) -> None:
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    record = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hook(frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PACKAGE):
            name = f"{path.removeprefix(PACKAGE)}:{frame.f_code.co_name}"
            if name in wanted:
                os.write(record, f"{name}\n".encode())

    from tests.docs.project.shop.jobs import Fail

    signals.job_failed.connect(hear)  # or there is nothing to announce
    sys.setprofile(hook)
    Fail().dispatch()
    call_command("queue_work", stop_when_empty=True, workers="1", verbosity=0)


if __name__ == "__main__":
    main(sys.argv[1], set(sys.argv[2:]))
