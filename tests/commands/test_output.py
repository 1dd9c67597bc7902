"""Durations, ranges and progress."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from djqueue.management import output
from djqueue.management.options import duration, row_range
from djqueue.management.output import Elapsed, Progress
from tests.commands.conftest import Terminal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7D", 604800)],
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5", "5y", "nan", "inf", "1e3"])
def test_what_is_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration"):
        duration(text)


def test_ranges():
    assert row_range("5-90") == (5, 90)
    for text in ("90-5", "5", "5-", "a-b"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a range"):
            row_range(text)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def shown(monkeypatch, clock, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(200) as progress:
        for step in range(1, 201):
            clock[0] += 0.5
            progress(step)
    return stream.getvalue()


def test_a_terminal_shows_a_bar_after_two_seconds_and_clears_it(monkeypatch, clock):
    text = shown(monkeypatch, clock, Terminal())
    assert text.startswith("\r  ░")
    assert "4/200  2%" in text.split("\r")[1]
    assert "100/200  50%" in text
    assert text.endswith("\r\x1b[K")


def test_a_pipe_gets_a_line_every_ten_seconds(monkeypatch, clock):
    lines = shown(monkeypatch, clock, io.StringIO()).splitlines()
    assert lines[0] == "20/200  10%"
    assert len(lines) == 10


def test_what_cannot_be_counted_shows_how_long_it_takes(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    elapsed = Elapsed()
    waits = iter([False, False, True])
    monkeypatch.setattr(elapsed._over, "wait", lambda seconds: next(waits))
    elapsed._tell()
    assert stream.getvalue() == "\r  0 s\x1b[K" * 2 + "\r\x1b[K"


def test_what_is_short_shows_nothing(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(2) as progress:
        progress(1)
        progress(2)
    assert stream.getvalue() == ""
