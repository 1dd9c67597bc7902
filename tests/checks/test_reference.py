"""docs/reference/checks.md explains every check, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "checks.md"
ID = r"djqueue\.[EWI]\d{3}"


def test_every_id_in_the_code_is_on_the_page_and_the_other_way_round():
    in_code = set()
    for file in (ROOT / "djqueue").rglob("*.py"):
        in_code |= set(re.findall(rf"\"({ID})\"", file.read_text()))
    on_page = re.findall(rf"^\| `({ID})` \|", PAGE.read_text(), re.MULTILINE)
    assert len(on_page) == len(set(on_page)), "an id is explained twice"
    assert in_code == set(on_page)


def test_every_row_says_what_and_how_to_mend_it():
    for row in re.findall(rf"^\| `{ID}` \|.*$", PAGE.read_text(), re.MULTILINE):
        _, _, what, remedy, _ = (cell.strip() for cell in re.split(r"(?<!\\)\|", row))
        assert len(what) > 10, row
        assert len(remedy) > 10, row
