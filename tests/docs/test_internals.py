"""What the page about the internals says is so: the five files are the way of a job, and the
examples of how to add something work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from djqueue.worker.children.process import ChildState
from tests.docs.markdown import ROOT, section

PAGE = ROOT / "docs" / "internals.md"
FIVE = re.findall(
    r"^\| `([\w/]+\.py)` \| `(?:\w+\.)?(\w+)\(\)`",
    section(PAGE, "From dispatch to handle, in five files"),
    re.MULTILINE,
)


def test_five_files_are_the_way_of_a_job(tmp_path):
    record = tmp_path / "calls"
    calls = [f"{file}:{function}" for file, function in FIVE]
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.walk", str(record), *calls],
        env={
            **os.environ,
            "DOCS_DATABASE": str(tmp_path / "db.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "tests.docs.project.settings",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(dict.fromkeys(record.read_text().split())) == calls
    assert len(calls) == 5


def test_the_states_of_a_child_are_those_of_the_code():
    picture = section(PAGE, "The parent of a worker").partition("### States of a child")[2]
    assert {state.name for state in ChildState} == set(re.findall(r"\b[A-Z]{4,}\b", picture))
