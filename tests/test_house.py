"""The permanent limits of the package's shape; `make house` shows all measures."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house import LARGEST_ROOM, LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS, House
from tests.imports import ROOT

DIALECT = re.compile(
    r"\b(nobody|somebody|whoever|anew|told|mend(s|ed)?|so many|(is|are) over)\b", re.IGNORECASE
)
NAMES = re.compile(
    r"(^|_)(nobody|somebody|whoever|anew|told|heard|mend(s|ed)?)(_|$)", re.IGNORECASE
)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What is above a limit, each for one reason. Nothing is added here.
TOO_LARGE = {"management/commands"}  # Django finds commands there


@pytest.fixture(scope="module")
def house():
    return House()


def above(sizes: dict[str, int], most: int) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if size > most}


def test_files_are_short(house):
    assert not above(house.lines, LONGEST_FILE)


def test_functions_are_short(house):
    assert not above(house.function_lines, LONGEST_FUNCTION)


def test_functions_take_few_parameters(house):
    assert not above(house.parameters, MOST_PARAMETERS)


def test_rooms_are_small(house):
    assert not above(house.rooms, LARGEST_ROOM).keys() - TOO_LARGE


def test_imports_go_in_no_circles(house):
    assert not house.circles


def test_what_is_public_is_documented(house):
    assert not house.undocumented


def test_tests_are_written_without_annotations():
    """What tests are given by name needs none; helpers that others import have them."""
    for path in Path(__file__).parent.rglob("test_*.py"):
        if path.parent.name != "typing":  # those are for type checkers
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    assert node.returns is None, f"{path}:{node.lineno}"
                    assert not any(a.annotation for a in node.args.args), f"{path}:{node.lineno}"


def test_texts_are_in_plain_english(house):
    """Messages, ``help=`` and docstrings."""
    assert not [
        f"{name}:{node.lineno} {node.value}"
        for name, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if DIALECT.search(node.value)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_in_plain_english(page):
    assert not [line for line in page.read_text().splitlines() if DIALECT.search(line)]


def test_names_are_in_plain_english(house):
    """Of modules, classes, functions, parameters, variables and attributes."""
    named = ("id", "attr", "arg", "name", "asname")
    assert not [
        f"{path}:{getattr(node, 'lineno', 0)} {name}"
        for path, tree in house.trees.items()
        for node in ast.walk(tree)
        for name in (getattr(node, each, None) for each in named)
        if isinstance(name, str) and NAMES.search(name)
    ]
