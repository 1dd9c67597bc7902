"""Which rows a form is about: row numbers of a table, or keys of jobs in another store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = ["Key", "Selection", "in_order", "key_of", "number", "seen_in", "stored_key"]

Key = int | str
"""A row number; of a job in another store what its store knows it by, as `key_of` writes it."""

_PLAIN = re.compile(r"[0-9a-f-]{1,80}\Z")
_SPELLED_OUT = re.compile(r"x(?:[0-9a-f]{2}){1,1000}\Z")


class Selection(NamedTuple):
    """The rows that an action is for."""

    alias: str
    keys: Sequence[Key]
    seen: Mapping[Key, str]
    """The reservation that the operator's page showed, by row."""
    more: bool = False
    """Whether more rows match than one request acts on."""
    connection: str | None = None
    """The connection whose store has the jobs; None for rows of the database `alias`."""
    values: Mapping[str, Any] = {}
    """What the operator has filled in, where the verb asks for something."""
    by: str = ""
    """The operator's name."""
    total: int = 0
    """How many rows the act is for; `keys` are a slice of them."""
    before: int = 0
    """How many rows the slices before had."""

    @property
    def place(self) -> Mapping[str, str]:
        """Return where the rows are, for the log."""
        return {"connection": self.connection} if self.connection else {"database": self.alias}


def number(given: str) -> int | None:
    """Return a row number from a form; None for a number that no database would take."""
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None


def key_of(name: str) -> str:
    """Return the form in which addresses and forms carry a store's name for a job."""
    return name if _PLAIN.match(name) else "x" + name.encode("utf-8", "surrogateescape").hex()


def stored_key(given: str) -> str | None:
    """Return a store's name for a job, from a form; None for a text that cannot be one."""
    if _SPELLED_OUT.match(given):
        return bytes.fromhex(given[1:]).decode("utf-8", "surrogateescape")
    return given if _PLAIN.match(given) else None


def in_order(key: Key) -> tuple[int, str]:
    """Return what keys are sorted by: row numbers by their size."""
    return len(str(key)), str(key)


def seen_in(request: HttpRequest) -> dict[str, str]:
    """Return the ``seen`` fields of a form: one or several of ``row:reservation``."""
    found = {}
    for token in ",".join(request.POST.getlist("seen")).split(","):
        key, colon, reservation = token.partition(":")
        if colon:
            found[key] = reservation
    return found
