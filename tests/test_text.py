"""Text from outside, made fit for people."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djqueue.text import printable as text

HOSTILE = st.text(st.characters(codec=None, exclude_categories=()))
CONTROLS = {chr(each) for each in (*range(32), *range(127, 160))}
TURNING = {chr(each) for each in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def unfit(shown: str, kept: str = "") -> set[str]:
    surrogates = {c for c in shown if "\ud800" <= c <= "\udfff"}
    return (set(shown) & (CONTROLS | TURNING | {"\u2028", "\u2029"}) - set(kept)) | surrogates


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("café\u3000日本語 \u200d👩\u200d🚀", "café\u3000日本語 \u200d👩\u200d🚀"),
        ("a\nb\tc\0", r"a\nb\tc\x00"),
        ("\x1b[31m\x9b\x7f", r"\x1b[31m\x9b\x7f"),
        ("caf\udce9.txt", r"caf\udce9.txt"),
        ("\u202egpj\u2028", r"\u202egpj\u2028"),
    ],
)
def test_what_is_not_visible_is_spelled_out(given, shown):
    assert text.one_line(given) == shown


def test_blocks_keep_their_line_breaks_and_never_begin_a_line_of_ours():
    assert text.lines("a\n\tb\r") == "a\n\tb\\r"
    assert text.indented("a\nid: 7\n") == "    a\n    id: 7"


def test_what_is_long_is_cut():
    assert text.one_line("x" * 10, 4) == "xxx…"
    assert text.lines("x\n" * 10, 4) == "x\nx…"


@given(HOSTILE)
def test_nothing_gets_through(given):
    assert not unfit(text.one_line(given))
    assert not unfit(text.lines(given), "\n\t")
    assert not unfit(text.page(given), "\n\t\r")
    text.page(given).encode()


@given(HOSTILE)
def test_json_keeps_its_value(given):
    shown = text.json_safe(json.dumps([given], ensure_ascii=False))
    assert not unfit(shown)
    back = json.loads(shown)[0]
    # Two surrogates that make a character are that character.
    joined = given.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert back in (given, joined)
