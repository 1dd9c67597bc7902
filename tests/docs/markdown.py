"""The code blocks of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?:\$ )?python manage\.py (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """What stands between two fences."""

    page: Path
    line: int
    """The number of its first line."""
    language: str
    text: str
    runs: bool
    """It is marked to be run, not only to be read."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """What follows ``python manage.py``."""
        return _COMMAND.findall(self.text)

    @property
    def source(self) -> str:
        """The text, with its lines where they are in the page."""
        return "\n" * (self.line - 1) + self.text


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    """The blocks of a page, or of a part of it."""
    whole = page.read_text()
    part = whole if text is None else text
    start = whole.index(part)
    for match in _BLOCK.finditer(part):
        line = whole.count("\n", 0, start + match.start(3)) + 1
        yield Block(page, line, match[2], match[3], bool(match[1]))


def section(page: Path, title: str) -> str:
    """The text below a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return found[1]
