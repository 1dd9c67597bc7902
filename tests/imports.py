"""Which modules of djqueue import which, read from the source, function-level imports included."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGE = "djqueue"


class Import(NamedTuple):
    """One import of one module."""

    importer: str
    imported: str
    line: int
    lazy: bool  # inside a function, so not when the importer is imported

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


@functools.cache
def modules() -> dict[str, Path]:
    """Return the source of each module of djqueue by dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path) -> list[Import]:
    """Return what a module imports, of djqueue and of others, imports for types only left out."""
    tree = ast.parse(path.read_text(), str(path))
    known = modules()
    return [
        Import(name, target, node.lineno, lazy)
        for node, lazy in _import_statements(tree.body, lazy=False)
        for target in _targets(node, known)
    ]


def targets_of_all() -> dict[str, set[str]]:
    """Return the modules of djqueue that each one imports, imports for types only included."""
    known = modules()
    return {
        name: {
            target
            for node in ast.walk(ast.parse(path.read_text(), str(path)))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for target in _targets(node, known)
            if target in known and target != name
        }
        for name, path in known.items()
    }


def _import_statements(
    nodes: list[ast.stmt], *, lazy: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, lazy
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _import_statements(node.orelse, lazy=lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_statements(_statements_in(node), lazy=inside)


def _statements_in(node: ast.AST) -> list[ast.stmt]:
    """Return the statements inside one: bodies, handlers, cases."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            found.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            found += child.body
    return found


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.Import | ast.ImportFrom, known: dict[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    # `from djqueue import errors` imports a module; `from djqueue.errors import X` a name of one.
    named = [f"{module}.{alias.name}" for alias in node.names]
    return list(dict.fromkeys(name if name in known else module for name in named))
