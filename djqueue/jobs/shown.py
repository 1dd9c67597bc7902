"""How a job looks in a log: its arguments, without a query and without a model's ``__str__``."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import TYPE_CHECKING, Any

from django.db.models import Model, QuerySet
from django.utils.functional import LazyObject, Promise

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["show"]


class _Repr(reprlib.Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, Model):
            return f"<{x._meta.label} {x.pk}>"
        if isinstance(x, QuerySet):
            return f"<QuerySet of {x.model._meta.label}>"
        if isinstance(x, (LazyObject, Promise)):
            return "<lazy>"
        if isinstance(x, tuple) or dataclasses.is_dataclass(x):
            # Their own repr would ask the models inside them.
            return f"{type(x).__name__}(…)"
        return super().repr_instance(x, level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 80


def show(name: str, arguments: Mapping[str, Any]) -> str:
    """``SendReceipt(order=<shop.Order 3>, copies=2)``, long values cut short."""
    return f"{name}({', '.join(f'{key}={_repr.repr(value)}' for key, value in arguments.items())})"
