"""``import djqueue`` gives the documented names, cheaply and before Django is set up."""

from __future__ import annotations

import subprocess
import sys

import djqueue

NAMES = [
    "CurrentJob",
    "DispatchedJob",
    "Inject",
    "Job",
    "QueueError",
    "adispatch",
    "adispatch_many",
    "batch",
    "chain",
    "current_job",
    "dispatch",
    "dispatch_many",
    "dispatch_sync",
    "exponential",
    "field",
    "find",
    "job",
    "queue_command",
    "queued_receiver",
    "queues",
]


def test_the_public_names_are_these():
    assert djqueue.__all__ == NAMES == sorted(NAMES)
    assert all(hasattr(djqueue, name) for name in NAMES)


def test_every_public_name_is_documented():
    documented = [getattr(djqueue, name) for name in NAMES if name != "field"]
    assert all(each.__doc__ for each in documented)


def run(source):
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_can_be_imported_before_django_is_set_up():
    done = run(
        "import djqueue, sys\n"
        "assert 'djqueue.models' not in sys.modules\n"
        "assert not [name for name in sys.modules if name.startswith('djqueue.drivers.database')]\n"
        "assert not {'redis', 'boto3', 'greenstalk', 'psycopg', 'MySQLdb'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_a_job_with_a_name_can_be_declared_before_django_is_set_up():
    done = run(
        "from djqueue import Job, job\n"
        "class A(Job, name='test.A'):\n"
        "    def handle(self): pass\n"
        "@job(name='test.b')\n"
        "def b(a: int): pass\n"
        "assert repr(b.bind(1)) == 'b(a=1)'"
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_one_literal():
    assert djqueue.__version__ == "0.1.0"
