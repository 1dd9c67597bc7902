"""Texts of ten million characters are cut before anybody sees them, and cost little time."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection

from djqueue.runner.outcome import TRACEBACK_LIMIT
from djqueue.text.masking import LONGEST, masked_text
from tests.admin.support import FAILED, client, failed

pytestmark = pytest.mark.django_db

LENGTH = 10_000_000
TEXTS = {
    "one word": "x" * LENGTH,
    "lines": "no\n" * (LENGTH // 3),
    "secrets": "password=hunter2 " * (LENGTH // 17),
    "escapes": "\x1b[31m" * (LENGTH // 5),
}


@pytest.fixture(params=TEXTS)
def text(request):
    return TEXTS[request.param]


@pytest.fixture
def rows(text):
    rows = [failed(exception=text)]
    if connection.vendor == "sqlite":  # the others keep no longer message than the column takes
        rows.append(failed(exception_message=text))
    return rows


@contextmanager
def a_second_at_most() -> Iterator[None]:
    """Of the processor's time: the machine may be busy."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 1.0


def shown(how: Callable[[], str]) -> str:
    with a_second_at_most():
        told = how()
    assert len(told) < LENGTH / 10
    assert "hunter2" not in told
    assert "\x1b" not in told
    return told


def command(*line: str) -> str:
    out = io.StringIO()
    call_command(*line, stdout=out, stderr=out)
    return out.getvalue()


def test_commands(rows):
    for line in (["queue_failed"], ["queue_failed", "--json"]):
        shown(lambda: command(*line))  # noqa: B023
    for row in rows:
        told = shown(lambda: command("queue_show", str(row.uuid)))  # noqa: B023
        assert "more characters)" in told


def test_pages(rows):
    browser = client("view_exception")
    browser.get(FAILED)  # what is loaded once
    for url in (FAILED, *[f"{FAILED}{row.pk}/change/" for row in rows]):
        shown(lambda: browser.get(url).content.decode())  # noqa: B023


def test_lines_of_the_log(text, caplog):
    logger = logging.getLogger("djqueue.worker")

    def log() -> str:
        logger.warning("The store said: %s", text)
        try:
            raise ValueError(text[: LENGTH // 20])  # Python takes its time for many lines
        except ValueError:
            logger.exception("It failed.")
        return caplog.text

    assert "more characters)" in shown(log)


def test_what_workers_store_is_shown_whole():
    text = "x" * (TRACEBACK_LIMIT + 100)
    assert masked_text(text) == text


def test_a_secret_is_not_cut_in_two():
    text = "x" * (LONGEST - 20) + " https://anna:hunter2@example.com"
    told = masked_text(text)
    assert "hunter" not in told
    assert told.endswith("x… (33 more characters)")
