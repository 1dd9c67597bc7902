"""How many columns of a terminal a text takes: wide characters take two, combining ones none."""

from __future__ import annotations

import unicodedata

__all__ = ["cut", "cut_inside", "padded", "width"]


def width(text: str) -> int:
    """Return the columns that `text` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, most: int) -> str:
    """Return `text`, cut to `most` columns."""
    if len(text) <= most // 2 or width(text) <= most:
        return text
    left, end = most - 1, 0
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        end += 1
    return f"{text[:end]}…" if most > 0 else ""


def cut_inside(text: str, most: int) -> str:
    """Return `text`, cut in its middle to `most` columns: both ends of a name tell most."""
    if width(text) <= most:
        return text
    end = most * 2 // 3
    tail = cut(text[::-1], end + 1)[:-1][::-1]
    return f"{cut(text, most - width(tail))}{tail}"


def padded(text: str, to: int) -> str:
    """Return `text`, cut or filled up to `to` columns."""
    shown = cut_inside(text, to)
    return shown + " " * (to - width(shown))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
