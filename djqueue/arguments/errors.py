"""Errors of encoding and decoding, with the place inside the value.

They stay inside this package: `Codec.encode` and `Codec.decode` convert them to the public errors,
so the argument's name is needed only when an error occurs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Where: TypeAlias = "str | Callable[[], str]"
"""The name of a whole value, as ``shop.SendReceipt: argument "rows"``, or a function for it."""

MAX_DEPTH = 64
"""How deeply containers and dataclasses may be nested; more is a mistake, usually a cycle."""

_LAST_NAME = re.compile(r'"([^"]+)"$')


class ArgumentError(Exception):
    """The base of the three; `path` leads from the whole value to the part that caused it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path = ""

    def at(self, step: str) -> None:
        """Prefix the path with a step (``[3]``, ``.when``) while the error propagates outwards."""
        self.path = step + self.path

    def place(self, where: Where) -> str:
        """Return the place in words: ``shop.Send: argument "rows" (rows[3].when)``."""
        start = where if isinstance(where, str) else where()
        if not self.path:
            return start
        name = _LAST_NAME.search(start)
        return f"{start} ({name[1] if name else 'value'}{self.path})"


class RefusedError(ArgumentError):
    """A value that cannot be queued; the text says its type and what to do about it."""


class DamagedError(ArgumentError):
    """A stored value that `encode` cannot have made."""


class GoneError(ArgumentError):
    """A model instance that no longer exists; the text names it."""


def deeper(depth: int) -> int:
    """Return the depth inside one more container while encoding. Raises `RefusedError`."""
    if depth >= MAX_DEPTH:
        raise RefusedError(
            f"is nested more than {MAX_DEPTH} levels deep, or contains itself. "
            "Pass a flatter value."
        )
    return depth + 1


def deeper_stored(depth: int) -> int:
    """Return the depth inside one more container while decoding. Raises `DamagedError`."""
    if depth >= MAX_DEPTH:
        raise DamagedError(f"it is nested more than {MAX_DEPTH} levels deep")
    return depth + 1


def short_repr(data: object) -> str:
    """Return a stored value for an error text: in ASCII, at most 80 characters."""
    if isinstance(data, str):
        text = ascii(data[:80])
    elif isinstance(data, int) and -(10**9) < data < 10**9:
        text = str(data)
    else:
        text = type(data).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def brief(error: Exception) -> str:
    """Return the text of an error of Django or Python, cut: it may quote a long value."""
    return str(error)[:200]


def type_name(kind: type) -> str:
    """Return the name of a type: ``dict``, ``decimal.Decimal``, ``shop.models.Order``."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
