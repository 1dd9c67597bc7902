"""A job as a log shows it: its class with its arguments."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import TYPE_CHECKING, Any

from django.db.models import Model, QuerySet
from django.utils.functional import LazyObject, Promise

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["call_repr"]


class _Repr(reprlib.Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, Model):
            return f"<{x._meta.label} {x.pk}>"
        if isinstance(x, QuerySet):
            return f"<QuerySet of {x.model._meta.label}>"
        if isinstance(x, (LazyObject, Promise)):
            return "<lazy>"
        if isinstance(x, tuple) or dataclasses.is_dataclass(x):
            # Their repr would call the repr of models inside them, which may query.
            return f"{type(x).__name__}(…)"
        return super().repr_instance(x, level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 80


def call_repr(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a job for a log: ``SendReceipt(order=<shop.Order 3>, copies=2)``. Queries nothing, and
    cuts long values.
    """
    return f"{name}({', '.join(f'{key}={_repr.repr(value)}' for key, value in arguments.items())})"
