"""New jobs, events and listeners, written into an app's ``jobs.py``, ``events.py`` or
``listeners.py``, or into a file of its own where that is a package.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.core.management.base import CommandError

if TYPE_CHECKING:
    from django.apps import AppConfig
    from django.core.management.base import CommandParser

    from djqueue.events import Event
    from djqueue.management.base import QueueCommand

__all__ = ["Made", "ScaffoldError", "add_place", "app_of", "making"]
__all__ += ["write_event", "write_job", "write_listener"]

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

_EVENT = '''class {name}(Event):
    """What happened, in the past tense."""

    # What is said of it, as in
    #     order: Order
'''

_LISTENER = '''class {name}(Listener, event={event}, queued=True):
    """What is done then."""

    def handle(self, event: {annotation}) -> None:
        """Do it. May run more than once: begin by looking whether it is done already."""
'''

_LISTENING_FUNCTION = '''@listen({event}, queued=True)
def {name}(event: {annotation}) -> None:
    """What is done then. May run more than once: begin by looking whether it is done already."""
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
    imported = {"job": "djqueue"} if function else {"Job": "djqueue"}
    body = _FUNCTION if function else _CLASS
    name, path = _write(config, "jobs", name, body, imported, function=function)
    call = f"{name}.dispatch()" if function else f"{name}().dispatch()"
    return Made(f"{config.label}.{name}", path, call)


def write_event(config: AppConfig, name: str) -> Made:
    """Write a class of events; nothing that is there is changed."""
    name, path = _write(config, "events", name, _EVENT, {"Event": "djqueue.events"})
    return Made(f"{config.label}.{name}", path, f"event({name}())")


def write_listener(
    config: AppConfig, name: str, event: type[Event] | None = None, *, function: bool = False
) -> Made:
    """Write a queued listener of `event`, or of all events of the app: a class, or a function with
    `function`; nothing that is there is changed.
    """
    base = "listen" if function else "Listener"
    imported = {base: "djqueue.events"}
    if event is None:
        imported["Event"] = "djqueue.events"
        listens, annotation = f'"{config.label}.*"', "Event"
    else:
        imported[event.__name__] = event.__module__
        listens = annotation = event.__name__
    body = _LISTENING_FUNCTION if function else _LISTENER
    body = body.replace("{event}", listens).replace("{annotation}", annotation)
    name, path = _write(config, "listeners", name, body, imported, function=function)
    return Made(f"{config.label}.{name}", path, f"event({annotation}(…))")


def _write(
    config: AppConfig,
    module: str,
    name: str,
    body: str,
    imports: Mapping[str, str],
    *,
    function: bool = False,
) -> tuple[str, Path]:
    """Write what is called `name` into a module of an app. Return its name and where it is."""
    words = [word for word in _WORDS.split(name) if word]
    name = "_".join(words).lower() if function else "".join(w[:1].upper() + w[1:] for w in words)
    path = _path(Path(config.path), module, "_".join(words).lower())
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    parsed = _parsed(source, path)
    if name in _defined(parsed):
        raise ScaffoldError(
            f"{path} has a {name} already. Choose another name. Nothing was written."
        )
    missing: dict[str, list[str]] = {}
    for imported, home in sorted(imports.items()):
        if imported not in _imported(parsed):
            missing.setdefault(home, []).append(imported)
    if missing:
        lines = (f"from {home} import {', '.join(names)}\n" for home, names in missing.items())
        source = _with_import(source, parsed, "".join(lines))
    path.write_text(f"{source.rstrip()}\n\n\n{body.format(name=name)}", encoding="utf-8")
    return name, path


def _path(app: Path, module: str, file: str) -> Path:
    package = app / module
    return package / f"{file}.py" if (package / "__init__.py").exists() else app / f"{module}.py"


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


# -- what their commands share ---------------------------------------------------------------------


def add_place(parser: CommandParser, name: str) -> None:
    """Add the arguments that say where to write, and what it is called; `name` is the help."""
    parser.add_argument("app", help="the label of an installed app")
    parser.add_argument("name", help=name)


def app_of(command: QueueCommand, options: Mapping[str, Any]) -> AppConfig:
    """Return the app to write into. Raises `CommandError` for what is no app or no name."""
    try:
        config = apps.get_app_config(options["app"])
    except LookupError as error:
        raise CommandError(str(error)) from None
    if not options["name"].isidentifier():
        raise command.usage(f'"{options["name"]}" is not a name that Python accepts.')
    return config


@contextmanager
def making() -> Iterator[None]:
    """Say what could not be written as the error of a command."""
    try:
        yield
    except ScaffoldError as error:
        raise CommandError(str(error)) from None
