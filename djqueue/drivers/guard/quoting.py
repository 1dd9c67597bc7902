"""A job's name as one word of ASCII, as messages and bodies carry it."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

_EMPTY = "%"
"""No name is quoted as this: a percent sign begins two digits."""


@lru_cache(maxsize=1024)
def quoted(name: str) -> str:
    """Return the word for `name`."""
    return quote(name, safe="") or _EMPTY


@lru_cache(maxsize=1024)
def unquoted(word: str) -> str:
    """Return the name that `quoted` made `word` of."""
    return "" if word == _EMPTY else unquote(word)
