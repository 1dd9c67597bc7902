r"""Making text from outside safe to show in terminals, pages and logs.

Characters that move a cursor, forge a line, reverse the reading direction or break an encoder are
escaped, as in ``\x1b``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

__all__ = ["indented", "json_safe", "lines", "one_line", "page"]

# Joiners that emoji and Persian need.
_JOINERS = "\u200c\u200d"
# Characters that no page may contain. Direction marks that translations use are allowed.
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def one_line(text: object, limit: int | None = None) -> str:
    """Return `text` on one line, cut to `limit` characters."""
    return _cut(_spelled(str(text), "", limit), limit)


def lines(text: object, limit: int | None = None) -> str:
    """Return `text` with invisible characters escaped, except line breaks and tabs."""
    return _cut(_spelled(str(text), "\n\t", limit), limit)


def indented(text: object, by: str = "    ") -> str:
    """Return `lines` indented, so that none looks like a line of the program itself."""
    return "\n".join(f"{by}{line}" for line in lines(text).rstrip("\n").split("\n"))


def json_safe(text: str) -> str:
    """Return a JSON text with invisible characters as JSON escapes, which keeps its value."""
    if text.isprintable():
        return text
    return _replaced(text, "\n\t", _json_escape)


def page(html: str) -> str:
    """Escape dangerous characters of a whole page, in case a part of it was not escaped."""
    return _UNFIT.sub(lambda found: _escape(found[0]), html)


def _spelled(text: str, kept: str, limit: int | None = None) -> str:
    if limit is not None:
        text = text[: limit + 1]  # one more, so that `_cut` knows that it was longer
    if text.isprintable():
        return text
    return _replaced(text, kept, _escape)


def _replaced(text: str, kept: str, escape: Callable[[str], str]) -> str:
    """Return `text` with invisible characters escaped. Each distinct character is examined once,
    as a text has few of them.
    """
    hidden = [c for c in set(text) if c not in kept and not _is_visible(c)]
    return text.translate({ord(c): escape(c) for c in hidden}) if hidden else text


def _is_visible(character: str) -> bool:
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else f"{text[: max(limit - 1, 0)]}…"
