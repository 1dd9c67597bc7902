"""Measures of the package: sizes, documentation, circles of imports. `make house` prints them."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import statistics
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.imports import PACKAGE, modules, targets_of_all

LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS, LARGEST_ROOM = 400, 40, 6, 12


class House:
    """All that is measured, read from the source and, for documentation, from what it defines."""

    @cached_property
    def sources(self) -> dict[str, str]:
        """Each module's text, migrations left out."""
        return {
            name: path.read_text() for name, path in modules().items() if ".migrations" not in name
        }

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Each module, parsed."""
        return {name: ast.parse(text) for name, text in self.sources.items()}

    @cached_property
    def lines(self) -> dict[str, int]:
        """How many lines each module has."""
        return {name: text.count("\n") for name, text in self.sources.items()}

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, by module and line."""
        return {
            f"{name}:{node.lineno} {node.name}": node
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    @cached_property
    def function_lines(self) -> dict[str, int]:
        """How many lines each function has without its docstring."""
        return {name: _length(node) for name, node in self.functions.items()}

    @cached_property
    def parameters(self) -> dict[str, int]:
        """How many parameters each function takes, beside ``self`` and ``cls``."""
        return {name: len(_parameters(node)) for name, node in self.functions.items()}

    @cached_property
    def rooms(self) -> dict[str, int]:
        """How many files each folder has beside its ``__init__``."""
        counts: dict[str, int] = {}
        for path in modules().values():
            if path.name != "__init__.py":
                room = str(path.parent.relative_to(Path(modules()[PACKAGE]).parent))
                counts[room] = counts.get(room, 0) + 1
        return counts

    @cached_property
    def circles(self) -> list[list[str]]:
        """Modules that import one another, imports for types only included."""
        return _strongly_connected(targets_of_all())

    @cached_property
    def undocumented(self) -> list[str]:
        """Public modules, classes, functions and methods without a docstring. A method that
        overrides another has its; so have commands and what Django asks for by name.
        """
        loaded = map(importlib.import_module, self.sources)
        return [one for module in loaded for one in _undocumented(module)]


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    documented = ast.get_docstring(node) is not None and isinstance(first, ast.Expr)
    words = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - words


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    found = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [each.arg for each in found if each.arg not in ("self", "cls")]


def _strongly_connected(graph: dict[str, set[str]]) -> list[list[str]]:
    """Tarjan's algorithm; circles only."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[-len(circle) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def _undocumented(module: ModuleType) -> Iterator[str]:
    if ".management.commands" in module.__name__:
        return
    if not module.__doc__ and Path(module.__file__ or "").stat().st_size:
        yield module.__name__
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value):
            yield from _undocumented_in(value)
        elif inspect.isfunction(value) and not value.__doc__:
            yield f"{module.__name__}.{name}"


def _undocumented_in(cls: type) -> Iterator[str]:
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not vars(cls).get("__doc__"):
        yield where
    for name, value in vars(cls).items():
        if name.startswith(("_", "test_")) or name == "Meta" or _overrides(cls, name):
            continue
        what: Any = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        is_method = inspect.isfunction(what) and what.__name__ != "<lambda>"
        if (is_method or isinstance(what, property | cached_property)) and not what.__doc__:
            yield f"{where}.{name}"


def _overrides(cls: type, name: str) -> bool:
    return any(name in vars(base) for base in cls.__mro__[1:])


def show() -> None:
    """Print the measures."""
    house = House()
    lines = list(house.lines.values())
    print(f"files                {len(lines)}")
    print(f"lines                {sum(lines):,}, median {statistics.median(lines):g} a file")
    for what, sizes, most in (
        ("longest file", house.lines, LONGEST_FILE),
        ("longest function", house.function_lines, LONGEST_FUNCTION),
        ("most parameters", house.parameters, MOST_PARAMETERS),
        ("largest room", house.rooms, LARGEST_ROOM),
    ):
        name = max(sizes, key=lambda each: sizes[each])
        print(f"{what:<21}{sizes[name]} ({name}); at most {most}")
        for other, size in sizes.items():
            if size > most and other != name:
                print(f"{'':<21}{size} ({other})")
    print(f"circles of imports   {len(house.circles)}")
    for circle in house.circles:
        print(f"{'':<21}{', '.join(circle)}")
    print(f"undocumented         {len(house.undocumented)}")
    for each in house.undocumented:
        print(f"{'':<21}{each}")


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    show()
