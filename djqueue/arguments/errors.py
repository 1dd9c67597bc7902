"""Why a value cannot be stored or a stored one not be read, and at which place inside it.

These never leave the package: `Codec.encode` and `Codec.decode` turn them into the public errors,
so that the name of the argument has to be known only when something went wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Where: TypeAlias = "str | Callable[[], str]"
"""The place of a whole value, as in ``shop.SendReceipt: argument "rows"``, or what makes it."""

MAX_DEPTH = 64
"""Containers (and dataclasses) within one another; more is a mistake, mostly a cycle."""

_LAST_NAME = re.compile(r'"([^"]+)"$')


class ArgumentError(Exception):
    """The base of the three; `path` leads from the whole value to the part that is to blame."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path = ""

    def at(self, step: str) -> None:
        """Prefix a step of the path (``[3]``, ``.when``), while the error travels outwards."""
        self.path = step + self.path

    def place(self, where: Where) -> str:
        """The argument, and the path inside it: ``shop.Send: argument "rows" (rows[3].when)``."""
        start = where if isinstance(where, str) else where()
        if not self.path:
            return start
        name = _LAST_NAME.search(start)
        return f"{start} ({name[1] if name else 'value'}{self.path})"


class RefusedError(ArgumentError):
    """A value that a queue cannot carry; the text says its type and what to do about it."""


class DamagedError(ArgumentError):
    """A stored value that is not what `encode` makes."""


class GoneError(ArgumentError):
    """A model instance that was deleted meanwhile; the text names it."""


def deeper(depth: int) -> int:
    """The depth one container further in, when a value is encoded."""
    if depth >= MAX_DEPTH:
        raise RefusedError(
            f"is nested more than {MAX_DEPTH} levels deep, or contains itself. "
            "Pass a flatter value."
        )
    return depth + 1


def deeper_stored(depth: int) -> int:
    """The depth one container further in, when a stored value is read."""
    if depth >= MAX_DEPTH:
        raise DamagedError(f"it is nested more than {MAX_DEPTH} levels deep")
    return depth + 1


def short_repr(data: object) -> str:
    """A stored value for an error text: ASCII, and short however long the value is."""
    if isinstance(data, str):
        text = ascii(data[:80])
    elif isinstance(data, int) and -(10**9) < data < 10**9:
        text = str(data)
    else:
        text = type(data).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def brief(error: Exception) -> str:
    """The text of an error of Django's or Python's, cut where it quotes a long value."""
    return str(error)[:200]


def type_name(kind: type) -> str:
    """``dict``, ``decimal.Decimal``, ``shop.models.Order``."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
