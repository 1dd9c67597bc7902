"""Every block of the documentation is what it says it is; marked ones run."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys

import pytest
from django.core.management import get_commands, load_command_class

from tests.docs.markdown import PAGES, ROOT, blocks

ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]
COMMANDS = [(block, command) for block in ALL for command in block.commands]
RUN = sorted({block.page for block in ALL if block.runs})
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def names(pages):
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_can_be_compiled(block):
    compile(block.source, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    ("block", "command"), COMMANDS, ids=[f"{block}-{command}" for block, command in COMMANDS]
)
def test_commands_can_be_parsed(block, command):
    name, *arguments = shlex.split(command, comments=True)
    available = {**get_commands(), "startapp": "django.core", "demo": "demo_project.shop"}
    assert name in available, f"{block}: there is no command {name}"
    if available[name] == "djqueue":
        parser = load_command_class("djqueue", name).create_parser("manage.py", name)
        parser.parse_args(arguments)


@pytest.mark.parametrize("page", RUN, ids=names(RUN))
def test_marked_blocks_run(page, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_page", str(page.relative_to(ROOT))],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.docs.project.settings",
            "DOCS_DATABASE": str(tmp_path / "db.sqlite3"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in LINK.findall(text):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(found.read_text()), f"{page.name} links to {target}"


def anchors(text: str) -> set[str]:
    """The anchors of headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}


def test_every_page_can_be_reached_from_the_index():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    missing = set(PAGES) - linked - {index, ROOT / "README.md"}
    assert not missing, names(missing)
