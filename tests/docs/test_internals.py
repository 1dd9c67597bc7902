"""What the page about the internals says is so: the five files and the hops between them
are the way of a job, and the examples of how to add something work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from djqueue.worker.children.process import ChildState
from tests.docs.markdown import ROOT, section

PAGE = ROOT / "docs" / "internals.md"
WAY = section(PAGE, "From dispatch to handle, in five files")
FIVE = re.findall(r"^\| `([\w/]+\.py)` \| `(?:\w+\.)?\w+\(\)`", WAY, re.MULTILINE)
FUNCTION = re.compile(r"`([\w/]+\.py)`(?: \|)?\s+`(?:\w+\.)?(\w+)\(\)`")
TABLE, HOPS = (list(map(":".join, FUNCTION.findall(part))) for part in WAY.split("These are"))


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """The functions of the section that a job calls, in the order of their first calls."""
    tmp_path = tmp_path_factory.mktemp("walk")
    record = tmp_path / "calls"
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.walk", str(record), *TABLE, *HOPS],
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
    return list(dict.fromkeys(record.read_text().split()))


def test_five_files_are_the_way_of_a_job(called):
    assert [call for call in called if call in TABLE] == TABLE
    assert len(FIVE) == 5


def test_hops_between_the_files_are_made(called):
    assert set(HOPS) <= set(called)
    assert len(HOPS) == 10


def test_the_states_of_a_child_are_those_of_the_code():
    picture = section(PAGE, "The parent of a worker").partition("### States of a child")[2]
    assert {state.name for state in ChildState} == set(re.findall(r"\b[A-Z]{4,}\b", picture))
