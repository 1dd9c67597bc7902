"""The page for the night: each command line that it names is one that the commands take."""

from __future__ import annotations

import re
import shlex
import uuid

import pytest
from django.core.management import load_command_class

from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
LINES = sorted(
    {line.partition("#")[0].strip() for line in re.findall(r"`(queue_\w+ [^`]*)`", PAGE)}
    | set(re.findall(r"manage\.py (queue_[^\n]+)", PAGE))
)


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_the_page_is_taken(line):
    name, *arguments = shlex.split(line)
    command = load_command_class("djqueue", name)
    parser = command.create_parser("manage.py", name)
    parser.parse_args([str(uuid.uuid4()) if each == "ID" else each for each in arguments])


def test_every_row_has_a_remedy():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "symptom" not in line]
    assert len(rows) > 20
    for row in rows:
        *_, remedy, _end = row.split("|")
        assert len(remedy.split()) > 2, row
