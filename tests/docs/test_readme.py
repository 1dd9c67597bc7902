"""The quick start of the README, typed by a new user in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, Block, blocks, section

README = ROOT / "README.md"
QUICK_START = [block for block in blocks(README, section(README, "Quick start")) if not block.runs]
MINUTES = 2

# What differs from run to run in a worker's output, as it stands in the README.
VARIES = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": r"[0-9a-f-]{36}",
    r"myhost:4211": r"\S+:\d+",
    r"pid 4211": r"pid \d+",
    r"[\d.]+ms": r"[\d.]+m?s",
    r"in [\d.]+ s\.": r"in [\d.]+ s\.",
}


class NewUser:
    """Types what the README says, in the folder it has led to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = ""
        programs = Path(sys.executable).parent
        self._environment = {
            **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),  # what "pip install djqueue" would have done
            "PYTHONWARNINGS": "error",
        }

    def follow(self, block: Block) -> None:
        {"console": self._type, "python": self._write, "text": self._compare}[block.language](block)

    def _type(self, block: Block) -> None:
        lines = re.findall(r"^\$ (.+)$", block.text, re.MULTILINE)
        assert lines, f"{block}: nothing to type"
        there = self.folder / ".there"
        script = "\n".join(["pip() { :; }", "set -e", *lines, f"pwd > {there}"])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60 * MINUTES,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        self.output = done.stdout
        self.folder = Path(there.read_text().strip())

    def _write(self, block: Block) -> None:
        """The first line names the file; what is there already stays."""
        path = self.folder / block.text.splitlines()[0].removeprefix("# ")
        with path.open("a") as file:
            file.write(f"\n{block.text}")

    def _compare(self, block: Block) -> None:
        pattern = block.text
        for shown, pattern_of in VARIES.items():
            pattern = re.sub(shown, lambda _, made=pattern_of: f"\0{made}\0", pattern)
        parts = pattern.split("\0")
        parts[::2] = map(re.escape, parts[::2])
        assert re.search("".join(parts), self.output), f"{self.output}\nis not\n{block.text}"


@pytest.mark.slow
def test_the_quick_start_leads_to_a_job_that_ran(tmp_path):
    began = time.monotonic()
    user = NewUser(tmp_path)
    for block in QUICK_START:
        user.follow(block)
    assert "2 receipt(s) for order 42" in user.output
    assert time.monotonic() - began < 60 * MINUTES


def test_it_begins_with_what_has_to_be_installed():
    assert "$ pip install djqueue\n" in QUICK_START[0].text


def test_it_is_short():
    assert README.read_text().count("\n") <= 150
