"""New jobs, written into an app's ``jobs.py``, or a file of its own where ``jobs`` is a package."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from django.apps import AppConfig

__all__ = ["Made", "ScaffoldError", "write_job"]

_CLASS = '''class {name}(Job):
    """What this job does."""

    # Its arguments, as in
    #     order: Order

    def handle(self) -> None:
        """Do it. May run more than once: begin by looking whether it is done already."""
'''

_FUNCTION = '''@job
def {name}() -> None:
    """What this job does. May run more than once: begin by looking whether it is done already."""
'''

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")


class ScaffoldError(Exception):
    """The module has that name already, or cannot be read."""


class Made(NamedTuple):
    """What was written."""

    name: str
    path: Path
    call: str
    """How it is dispatched."""


def write_job(config: AppConfig, name: str, *, function: bool = False) -> Made:
    """Write a job class, or a function with `function`; nothing that is there is changed."""
    words = [word for word in _WORDS.split(name) if word]
    name = "_".join(words).lower() if function else "".join(w[:1].upper() + w[1:] for w in words)
    path = _path(Path(config.path), "_".join(words).lower())
    imported = "job" if function else "Job"
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    module = _parsed(source, path)
    if name in _defined(module):
        raise ScaffoldError(
            f"{path} has a {name} already. Choose another name. Nothing was written."
        )
    if imported not in _imported(module):
        source = _with_import(source, module, f"from djqueue import {imported}\n")
    body = (_FUNCTION if function else _CLASS).format(name=name)
    path.write_text(f"{source.rstrip()}\n\n\n{body}", encoding="utf-8")
    call = f"{name}.dispatch()" if function else f"{name}().dispatch()"
    return Made(f"{config.label}.{name}", path, call)


def _path(app: Path, file: str) -> Path:
    package = app / "jobs"
    return package / f"{file}.py" if (package / "__init__.py").exists() else app / "jobs.py"


def _parsed(source: str, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ScaffoldError(
            f"{path} cannot be parsed as Python: {error}. Fix it first. Nothing was written."
        ) from None


def _defined(module: ast.Module) -> set[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in module.body if isinstance(each, kinds)} | _imported(module)


def _imported(module: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for each in module.body
        if isinstance(each, (ast.Import, ast.ImportFrom))
        for alias in each.names
    }


def _with_import(source: str, module: ast.Module, statement: str) -> str:
    """`source` with one import more: behind the last one, or the docstring, or at the top."""
    behind = 0
    for each in module.body:
        if isinstance(each, (ast.Import, ast.ImportFrom)) or (
            each is module.body[0] and ast.get_docstring(module) is not None
        ):
            behind = each.end_lineno or 0
    lines = source.splitlines(keepends=True)
    if behind and not lines[behind - 1].endswith("\n"):
        lines[behind - 1] += "\n"
    after_docstring = behind and not isinstance(module.body[0], (ast.Import, ast.ImportFrom))
    only_docstring = after_docstring and not _imported(module)
    blank = "\n" if only_docstring else ""
    return "".join([*lines[:behind], blank, statement, *lines[behind:]])
