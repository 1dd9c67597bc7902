"""The permanent limits of the package's shape; `make house` shows all measures."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house import LARGEST_ROOM, LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS, House

# What is above a limit, each for one reason. Nothing is added here; what is mended goes.
DIALECT = re.compile(r"\b(nobody|somebody|whoever|anew|mend(ed)?|so many)\b", re.IGNORECASE)
TOO_LARGE = {"management/commands", "dispatch"}  # Django finds commands there; one too many


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


def test_messages_are_in_plain_english(house):
    assert not [
        f"{name}:{node.lineno} {node.value}"
        for name, text in house.sources.items()
        for node in messages(ast.parse(text))
        if DIALECT.search(node.value)
    ]


def messages(tree: ast.Module) -> list[ast.Constant]:
    """Texts that are no docstrings."""
    blocks = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    docstrings = {id(line.value) for body in blocks for line in body if isinstance(line, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]
