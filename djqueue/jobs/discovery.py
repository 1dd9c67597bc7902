"""Finding jobs and listeners: each app's ``jobs`` and ``listeners``, modules or packages.

They are imported when Django starts, after the models. A module that cannot be imported does not
stop the process, because ``migrate`` may be needed to repair it. The system check djqueue.E010
shows the error, and a worker refuses to start.
"""

from __future__ import annotations

import logging
import pkgutil
import sysconfig
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from django.apps import apps
from django.utils.module_loading import module_has_submodule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["ImportFailure", "discover", "errors"]

MODULES = ("jobs", "listeners")
NOT_THE_PROJECT = (
    "<frozen ",
    __file__,
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
"""Beginnings of the paths of files that belong to Python, installed packages or this module."""

logger = logging.getLogger("djqueue")


class ImportFailure(NamedTuple):
    """A module of jobs or listeners that could not be imported."""

    module: str
    error: Exception

    @property
    def place(self) -> str:
        """The file and line that raised: the last ones inside the project, if there are any."""
        if isinstance(self.error, SyntaxError) and self.error.filename:
            return f"{self.error.filename}:{self.error.lineno}"
        frames = traceback.extract_tb(self.error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(NOT_THE_PROJECT)]
        last = (own or frames)[-1]
        return f"{last.filename}:{last.lineno}"


_failures: list[ImportFailure] = []


def discover() -> None:
    """Import the jobs and listeners of every installed app, and remember the failures."""
    _failures.clear()
    for config in apps.get_app_configs():
        # Our own ``jobs`` package is what job classes derive from; it holds no jobs.
        if config.name == "djqueue" or config.module is None:
            continue
        for name in MODULES:
            if module_has_submodule(config.module, name):
                _import(f"{config.name}.{name}")


def errors() -> list[ImportFailure]:
    """Return the failures of the last `discover`."""
    return list(_failures)


def _import(name: str) -> None:
    try:
        module = import_module(name)
    except Exception as error:  # the project's code may raise anything
        logger.debug("%s cannot be imported.", name, exc_info=True)
        _failures.append(ImportFailure(name, error))
        return
    for submodule in _submodules(module):
        _import(submodule)


def _submodules(module: ModuleType) -> Iterator[str]:
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if info.name != "__main__":
            yield f"{module.__name__}.{info.name}"
