"""No record of djqueue's loggers forges a line or tells a secret."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest

import djqueue
from djqueue.text.logs import LOGGERS
from tests.test_masking import TEXTS, VALUE
from tests.test_text import unfit

FORGERY = "papp.x\n2026-01-01 00:00:00 CRITICAL forged \x1b[31m\x9b\u202e\udce9"


@pytest.fixture
def written():
    """What a handler on the root would write, with its format."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("name", LOGGERS)
def test_a_name_from_a_store_is_one_printable_line(name, written):
    logging.getLogger(name).warning("Lost %s: %d left, %s", FORGERY, 7, FORGERY)
    assert written().count("\n") == 1
    assert not unfit(written(), "\n")
    assert r"Lost papp.x\n2026" in written()


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize("text", TEXTS.values())
def test_no_secret_of_an_exception_is_written(name, text, written):
    try:
        try:
            raise OSError(text.format(name="password", value=VALUE))
        except OSError as cause:
            raise ValueError(text.format(name="api_key", value=VALUE)) from cause
    except ValueError as error:
        logging.getLogger(name).error("It failed: %s", error, exc_info=error)
    assert "Traceback" in written()
    assert VALUE not in written()
    assert not unfit(written(), "\n\t")


def test_wrong_arguments_are_told_by_logging_as_ever(written, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("djqueue").warning("%d", "no number")
    logging.getLogger("djqueue").warning("%s is there", {"password": VALUE})
    assert "is there" in written()
    assert VALUE not in written()


def test_no_logger_of_the_package_is_forgotten():
    used = set()
    for file in Path(djqueue.__file__).parent.rglob("*.py"):
        used |= set(re.findall(r'getLogger\("([^"]+)"\)', file.read_text()))
    assert used - {""} <= set(LOGGERS)
