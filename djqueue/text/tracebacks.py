"""Tracebacks as they are stored: a text, taken apart for people who look for their own code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

__all__ = ["Part", "is_library", "parts", "place"]

_LIBRARY = (
    f"{os.sep}site-packages{os.sep}",
    f"{os.sep}lib{os.sep}python",
    f"{os.sep}djqueue{os.sep}",
)
_FRAME = re.compile(r'\s*(?:[|+] )*\s*File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)')
_HEAD = "Traceback (most recent call last):"


def is_library(file: str) -> bool:
    """Return whether code belongs to Python, to an installed package or to djqueue."""
    return any(part in file for part in _LIBRARY)


@dataclass
class Part:
    """Lines that stand together: frames of a library, or all else."""

    library: bool
    lines: list[str] = field(default_factory=list)
    frames: int = 0

    @property
    def text(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.lines)


def parts(traceback: str) -> list[Part]:
    """Return a traceback in parts, in its order. Successive frames of libraries are one part."""
    found: list[Part] = []
    for library, group in groupby(_frames(traceback), key=lambda each: each.library):
        one = Part(library)
        for each in group:
            one.lines += each.lines
            one.frames += each.frames
        found.append(one)
    return found


def _frames(traceback: str) -> Iterator[Part]:
    """Return the frames of a traceback, each with its lines of code, and what is between them."""
    current = Part(library=False)
    for line in traceback.splitlines():
        match = _FRAME.match(line)
        if match is not None:
            yield current
            current = Part(is_library(match["file"]), [line], 1)
        elif current.frames and line[:1].strip():  # not indented: the exception itself
            yield current
            current = Part(library=False, lines=[line])
        else:
            current.lines.append(line)
    yield current


def place(traceback: str) -> str:
    """Return the last place of the project's own code as ``file:function``; the last place at all
    if there is none of its own.
    """
    own, last = "", ""
    for line in traceback[traceback.rfind(_HEAD) + 1 :].splitlines():
        match = _FRAME.match(line)
        if match is not None:
            last = f"{Path(match['file']).name}:{match['function']}"
            own = own if is_library(match["file"]) else last
    return own or last
