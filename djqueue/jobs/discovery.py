"""Finding jobs and listeners: each app's ``jobs`` and ``listeners``, modules or packages.

They are imported as Django starts, once every model is there. A module that cannot be imported is
noted instead of stopping the process, because ``migrate`` may be what mends it: the system check
djqueue.E010 shows it, and a worker refuses to start.
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
"""How the names of files begin that belong to Python, to installed packages and to this module."""

logger = logging.getLogger("djqueue")


class ImportFailure(NamedTuple):
    """A module of jobs or listeners that could not be imported."""

    module: str
    error: Exception

    @property
    def place(self) -> str:
        """File and line that raised: the last one that is the project's own, if any is."""
        if isinstance(self.error, SyntaxError) and self.error.filename:
            return f"{self.error.filename}:{self.error.lineno}"
        frames = traceback.extract_tb(self.error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(NOT_THE_PROJECT)]
        last = (own or frames)[-1]
        return f"{last.filename}:{last.lineno}"


_failures: list[ImportFailure] = []


def discover() -> None:
    """Import the jobs and listeners of every installed app, and remember what failed."""
    _failures.clear()
    for config in apps.get_app_configs():
        # Our own ``jobs`` package is what job classes derive from; it holds no jobs.
        if config.name == "djqueue" or config.module is None:
            continue
        for name in MODULES:
            if module_has_submodule(config.module, name):
                _import(f"{config.name}.{name}")


def errors() -> list[ImportFailure]:
    """What the last `discover` could not import."""
    return list(_failures)


def _import(name: str) -> None:
    try:
        module = import_module(name)
    except Exception as error:  # the project's own code, and it may raise anything
        logger.debug("%s cannot be imported.", name, exc_info=True)
        _failures.append(ImportFailure(name, error))
        return
    for submodule in _submodules(module):
        _import(submodule)


def _submodules(module: ModuleType) -> Iterator[str]:
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if info.name != "__main__":
            yield f"{module.__name__}.{info.name}"
