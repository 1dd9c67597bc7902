"""Reading tables as the IANA publishes them: tabs between columns, ``#`` before comments."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = ("countries", "coordinates", "name", "comment")


def read(path: str) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of a table, and what was wrong with the lines that are none."""
    rows, refused = [], []
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for cells in reader:
            if not cells or cells[0].startswith("#"):
                continue
            if len(cells) not in (3, 4):
                refused.append(f"line {reader.line_num}: {len(cells)} columns, not 3 or 4")
                continue
            rows.append(dict(zip(COLUMNS, [*cells, ""], strict=False)))
    return rows, refused
