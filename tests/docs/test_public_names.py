"""The page of public names says what can be imported, and the documentation imports no more."""

from __future__ import annotations

import ast
import re
from importlib import import_module

import pytest

import djqueue
from tests.docs.markdown import PAGES, ROOT, blocks, section

PAGE = ROOT / "docs" / "reference" / "public-names.md"
INTERNALS = ROOT / "docs" / "internals.md"  # for those who change djqueue itself
PYTHON = [
    block
    for page in PAGES
    if page != INTERNALS
    for block in blocks(page)
    if block.language == "python"
]


def first_cells(text):
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in rows for name in re.findall(r"`([\w.]+)`", cell)]


MODULES = first_cells(section(PAGE, "Modules"))


def test_the_names_of_the_package_are_listed():
    assert sorted(first_cells(section(PAGE, "From `djqueue`"))) == sorted(djqueue.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_has_the_names_that_are_listed(module):
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{module}`")]
    for name in re.findall(r"`(\w+)`", row.split("|")[2]):
        assert (
            hasattr(import_module(module), name) or hasattr(djqueue, name) or name == "ModelAdmin"
        )


def imports(block):
    """The modules of djqueue that a block imports from."""
    for node in ast.walk(compile(block.source, str(block.page), "exec", _FLAGS)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("djqueue"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield names & set(MODULES) or {node.module}


_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_examples_import_public_modules_only(block):
    for found in imports(block):
        assert found <= {"djqueue", *MODULES}
