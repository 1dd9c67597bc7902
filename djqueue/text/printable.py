r"""Text from outside, made fit for people: terminals, pages, logs.

Nothing that is stored can move a cursor, forge a line, reverse the reading direction or break an
encoder once it has passed through here: such characters are spelled out, as in ``\x1b``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

__all__ = ["indented", "json_safe", "lines", "one_line", "page"]

# Joiners that emoji and Persian need. Spaces of other widths are no danger either.
_JOINERS = "\u200c\u200d"
# What no page may hold, whoever put it there. Marks of direction that translations use are let be.
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def one_line(text: object, limit: int | None = None) -> str:
    """`text` on one line, cut to `limit` characters."""
    return _cut(_spelled(str(text), "", limit), limit)


def lines(text: object, limit: int | None = None) -> str:
    """`text` with its line breaks and tabs, and nothing else that is not visible."""
    return _cut(_spelled(str(text), "\n\t", limit), limit)


def indented(text: object, by: str = "    ") -> str:
    """`lines`, none of which begins where a line of the program's own begins."""
    return "\n".join(f"{by}{line}" for line in lines(text).rstrip("\n").split("\n"))


def json_safe(text: str) -> str:
    """A JSON text with what is not visible written as JSON escapes it: the same value."""
    if text.isprintable():
        return text
    return _replaced(text, "\n\t", _json_escape)


def page(html: str) -> str:
    """A whole page, as a last resort: what its parts should have spelled out before."""
    return _UNFIT.sub(lambda found: _escape(found[0]), html)


def _spelled(text: str, kept: str, limit: int | None = None) -> str:
    if limit is not None:
        text = text[: limit + 1]  # one more, for `_cut` to see that there is more
    if text.isprintable():
        return text
    return _replaced(text, kept, _escape)


def _replaced(text: str, kept: str, escape: Callable[[str], str]) -> str:
    """`text` with what is not visible escaped. A text has few characters that differ: each is
    looked at once.
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
