"""Tracebacks of exceptions: as Python shows them, though most of a text may be kept."""

from __future__ import annotations

import sys
import traceback

import pytest

from djqueue.text.tracebacks import formatted

pytestmark = pytest.mark.anywhere


class Wordless(Exception):
    def __str__(self):
        raise TypeError


def deep(levels=50):
    if levels:
        deep(levels - 1)
    raise ValueError("two\nlines")


def missing():
    {}["key"]


def misspelt():
    return mising  # noqa: F821


def chained():
    try:
        missing()
    except KeyError as error:
        raise RuntimeError("after it") from error


def during():
    try:
        missing()
    except KeyError:
        misspelt()


def noted():
    error = ValueError("one")
    if sys.version_info >= (3, 11):
        error.add_note("a note")
    raise error


def grouped():
    if sys.version_info >= (3, 11):
        raise ExceptionGroup("several", [ValueError(1), KeyError(2)])  # noqa: F821
    raise ValueError


def wordless():
    raise Wordless


def unreadable():
    compile("a b", "there.py", "exec")


RAISING = deep, missing, misspelt, chained, during, noted, grouped, wordless, unreadable


@pytest.mark.parametrize("function", RAISING, ids=lambda function: function.__name__)
def test_a_traceback_is_as_python_shows_it_the_first_time_and_the_second(function):
    for _ in range(2):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each raises its own
            function()
        error = caught.value
        shown = traceback.format_exception(type(error), error, error.__traceback__)
        assert formatted(error) == "".join(shown)
