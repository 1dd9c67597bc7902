"""Tracebacks as they are stored: a text, taken apart for people who look for their own code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Part", "formatted", "is_library", "parts", "place", "token_of"]
__all__ += ["with_token", "without_token"]

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


def formatted(error: BaseException) -> str:
    """Return the traceback of an exception, as Python shows it. What the exceptions of a queue have
    passed is often the same: where only that and their own words are to be shown, it is kept.
    """
    alone = error.__cause__ is None and error.__context__ is None
    grouped = getattr(error, "exceptions", None) is not None
    if error.__traceback__ is None or not alone or grouped or isinstance(error, _EXPLAINED):
        whole = traceback.format_exception(type(error), error, error.__traceback__)
        return _with_notes("".join(whole), error)
    last = traceback.format_exception_only(type(error), error)
    text = "".join([f"{_HEAD}\n", _passed(_Passed(error.__traceback__)), *last])
    return _with_notes(text, error)


def add_note(error: BaseException, note: str) -> None:
    """Let the traceback of an exception end with `note`, as its ``add_note()`` does from Python
    3.11 on.
    """
    error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined,unused-ignore]


def _with_notes(text: str, error: BaseException) -> str:
    """Return a traceback with the notes of its exception, which Python shows from 3.11 on, and
    before where the package exceptiongroup is loaded.
    """
    own = () if sys.version_info >= (3, 11) else getattr(error, "__notes__", ())
    notes = "".join(f"{note}\n" for note in own)
    return text if text.endswith(notes) else text + notes


_EXPLAINED = NameError, ImportError
"""Python looks into their frames for the words that it adds."""


class _Passed:
    """Where an exception has passed. Equal for all that have passed the same."""

    def __init__(self, trace: TracebackType) -> None:
        self.trace: TracebackType | None = trace
        """Removed once it is formatted: it has all variables of its frames."""
        at: list[object] = []
        left: TracebackType | None = trace
        while left is not None:
            code = left.tb_frame.f_code
            at += code.co_filename, code.co_name, left.tb_lineno, left.tb_lasti
            left = left.tb_next
        self._at = tuple(at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Passed) and self._at == other._at

    def __hash__(self) -> int:
        return hash(self._at)


@lru_cache(maxsize=32)
def _passed(places: _Passed) -> str:
    trace, places.trace = places.trace, None
    return "".join(traceback.format_tb(trace))


_ENCRYPTED = "Encrypted by djqueue: "
"""What the first line of a stored traceback begins with whose words are encrypted behind it."""


def with_token(text: str, token: str) -> str:
    """Return a traceback as it is stored, before it the `token` that has its words, if there is
    one.
    """
    return f"{_ENCRYPTED}{token}\n{text}" if token else text


def without_token(stored: str) -> str:
    """Return a stored traceback as people read it."""
    return stored.partition("\n")[2] if stored.startswith(_ENCRYPTED) else stored


def token_of(stored: str) -> str:
    """Return the token of a stored traceback; an empty text if it has none."""
    line = stored.partition("\n")[0]
    return line.removeprefix(_ENCRYPTED) if line.startswith(_ENCRYPTED) else ""


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
