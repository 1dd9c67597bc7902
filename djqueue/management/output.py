"""What commands print: tables on a terminal, plain lines in a pipe, JSON lines when asked to."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.management.base import OutputWrapper

from djqueue.compat import stream_of
from djqueue.text.printable import json_safe, lines, one_line
from djqueue.text.width import cut, padded, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Elapsed", "Printable", "Progress", "json_line", "moment", "write_entries", "write_rows"]

T = TypeVar("T")

GAP = "  "
NARROWEST = 8
"""Columns below which a column is not cut."""
PAGE = 500
"""Rows whose columns have the same widths."""
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
    """A time as pipes and `queue_show` have it."""
    return "-" if value is None else value.isoformat(sep=" ", timespec="seconds")


def write_rows(
    out: OutputWrapper, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """A table that fits the terminal; in a pipe one line a row, its cells separated by tabs. Both
    begin with a head.
    """
    if out.isatty():
        _write_table(out, columns, [(row, "") for row in rows])
        return
    head = [[column.upper() for column in columns]] if any(columns) else []
    for row in chain(head, rows):
        out.write("\t".join(map(_cell, row)))


def write_entries(
    out: OutputWrapper, columns: Sequence[str], entries: Iterable[tuple[Sequence[object], str]]
) -> None:
    """A table on a terminal whose rows have a second line, where there is something to say. It is
    written in pages, each with columns of its own widths.
    """
    left = iter(entries)
    while page := list(islice(left, PAGE)):
        _write_table(out, columns, page)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return moment(value)
    text = "-" if value is None or value == "" else str(value)
    # One row is one line, whatever an exception's message holds.
    return one_line(" ".join(text.split()))


def _write_table(
    out: OutputWrapper, columns: Sequence[str], rows: Sequence[tuple[Sequence[object], str]]
) -> None:
    room = shutil.get_terminal_size().columns
    heads = [column.upper() for column in columns]
    lines = [heads, *([_cell(value) for value in cells] for cells, _below in rows)]
    widths = _widths(columns, lines, room)
    for cells, below in zip(lines, ["", *(below for _cells, below in rows)], strict=True):
        if not any(cells):
            continue  # a table without a head
        out.write(GAP.join(map(padded, cells, widths)).rstrip())
        if below:
            out.write(f"  ↳ {cut(_cell(below), room - 4)}")


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the widths of columns that fill at most `room`, as far as that is possible: the widest
    ones are cut. An id is there to be copied, and is never cut.
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while over > 0:
        at = max(range(len(widths)), key=lambda each: (columns[each] != "id") * widths[each])
        if columns[at] == "id" or widths[at] <= NARROWEST:
            break
        widths[at] -= 1
        over -= 1
    return widths


class Progress:
    """How far a long operation is, on stderr: a bar on a terminal, otherwise a line every 10 s.

    Nothing is shown for what takes less than 2 s.
    """

    def __init__(self, total: int | None = None) -> None:
        """`total`: how many there are, where that is known."""
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
        if self._total is None:
            text = bar = f"{done:,}"
        else:
            total = max(self._total, done, 1)
            full = BAR * done // total
            text = f"{done:,}/{total:,}  {100 * done // total}%"
            bar = f"{'█' * full}{'░' * (BAR - full)}  {text}"
        sys.stderr.write(f"\r  {bar}\x1b[K" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """Return the items, and show how many have been taken."""
        for number, item in enumerate(items, 1):
            yield item
            self(number)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self._terminal:
            sys.stderr.write("\r\x1b[K")


class Elapsed:
    """How long an operation has taken whose steps cannot be counted, on stderr: as `Progress`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="djqueue-elapsed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _tell(self) -> None:
        begun, terminal = time.monotonic(), sys.stderr.isatty()
        pause = 2.0 if terminal else 10.0
        while not self._over.wait(pause):
            text = f"{time.monotonic() - begun:.0f} s"
            sys.stderr.write(f"\r  {text}\x1b[K" if terminal else f"{text}\n")
            sys.stderr.flush()
            pause = min(pause, 1.0) if terminal else pause
        if terminal and pause < 2:
            sys.stderr.write("\r\x1b[K")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
