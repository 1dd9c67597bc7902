"""The stored name of a job: what payloads carry, whatever becomes of its module."""

from __future__ import annotations

from django.apps import apps

from djqueue.errors import InvalidJob

__all__ = ["stored_name"]


def stored_name(module: str, name: str, where: str) -> str:
    """``app_label.Name`` for something called `name` in `module`.

    Raises `InvalidJob`, its message begun by `where`, for a module that belongs to no installed
    app, and `AppRegistryNotReady`, as a model would, before the apps are known.
    """
    config = apps.get_containing_app_config(module)
    if config is None:
        raise InvalidJob(
            f'{where}: its module "{module}" belongs to no app in INSTALLED_APPS, so queued jobs '
            f'would have no stable name. Give it one: name="project.{name}".'
        )
    return f"{config.label}.{name}"
