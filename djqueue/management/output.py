"""What commands print: tables on a terminal, plain lines in a pipe, JSON lines when asked to."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.management.base import OutputWrapper

from djqueue.compat import stream_of
from djqueue.text.printable import json_safe, lines, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Printable", "Progress", "json_line", "moment", "write_rows"]

GAP = "  "
BAR = 30


class Printable(OutputWrapper):
    """Where a command writes: what is not visible is spelled out, but for line breaks and tabs."""

    def write(  # type: ignore[override]  # as Django's own is
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        """`msg`, as the stream can write it."""
        shown = lines(msg)
        encoding = getattr(stream_of(self), "encoding", None) or "utf-8"
        shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        super().write(shown, style_func, ending)


def json_line(data: Mapping[str, Any]) -> str:
    """One object on one line; times in ISO 8601."""
    return json_safe(json.dumps(data, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def moment(value: datetime | None) -> str:
    """A time as tables show it."""
    return "-" if value is None else value.isoformat(sep=" ", timespec="seconds")


def write_rows(
    out: OutputWrapper,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    color: bool = True,
) -> None:
    """A table with a head on a terminal; otherwise one line a row, its cells parted by tabs."""
    cells = ([_cell(value) for value in row] for row in rows)
    if not out.isatty():
        for row in cells:
            out.write("\t".join(row))
    elif find_spec("rich") is not None:
        _write_with_rich(out, columns, list(cells), color=color)
    else:
        _write_table(out, columns, list(cells))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return moment(value)
    text = "-" if value is None or value == "" else str(value)
    # One row is one line, whatever an exception's message holds.
    return one_line(" ".join(text.split()))


def _write_table(out: OutputWrapper, columns: Sequence[str], rows: list[list[str]]) -> None:
    heads = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    room = shutil.get_terminal_size().columns
    for row in [heads, *rows]:
        line = GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        out.write(line if len(line) <= room else f"{line[: room - 1]}…")


def _write_with_rich(
    out: OutputWrapper, columns: Sequence[str], rows: list[list[str]], *, color: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        # An id is there to be copied: never cut, never on two lines.
        table.add_column(column.upper(), overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(
        file=stream_of(out),
        color_system="auto" if color else None,
    )
    console.print(table)


class Progress:
    """How far a long operation is, on stderr: a bar on a terminal, otherwise a line every 10 s.

    Nothing is shown for what takes less than 2 s.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = self._reported = time.monotonic()
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int) -> None:
        """`done` of all are done."""
        now = time.monotonic()
        since_begun, since_reported = now - self._begun, now - self._reported
        if since_begun < 2 or since_reported < (0.1 if self._terminal else 10):
            return
        self._reported = now
        self._shown = True
        text = f"{done:,}/{self._total:,}  {100 * done // max(self._total, 1)}%"
        if not self._terminal:
            sys.stderr.write(f"{text}\n")
            return
        full = BAR * done // max(self._total, 1)
        sys.stderr.write(f"\r  {'█' * full}{'░' * (BAR - full)}  {text}\x1b[K")
        sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self._terminal:
            sys.stderr.write("\r\x1b[K")
