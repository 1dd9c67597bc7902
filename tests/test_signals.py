"""Announcements never change what they are about."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.dispatch import Signal

from djqueue import signals
from djqueue.signals import announce, job_failed, job_queued


@pytest.fixture
def connect():
    """Return a function that connects a receiver for the time of the test."""
    connected = []

    def connect(signal, receiver, sender=None):
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


def test_a_receiver_gets_sender_and_arguments(connect):
    seen = []
    connect(job_failed, lambda **arguments: seen.append(arguments))
    error = ValueError("x")
    announce(job_failed, int, job="job", error=error)
    assert seen == [{"signal": job_failed, "sender": int, "job": "job", "error": error}]


def test_a_receiver_of_another_sender_is_not_called(connect):
    seen = []
    connect(job_queued, lambda **arguments: seen.append(arguments), sender=str)
    announce(job_queued, int)
    assert seen == []


def test_a_failing_receiver_is_logged_and_the_others_are_called(connect, caplog):
    seen = []

    def broken(**_):
        raise ZeroDivisionError("no")

    connect(job_queued, broken)
    connect(job_queued, lambda **_: seen.append(True))
    with caplog.at_level(logging.ERROR, logger="djqueue"):
        announce(job_queued, int, job=None)
    assert seen == [True]
    [record] = [record for record in caplog.records if record.name == "djqueue"]
    assert "job_queued" in record.getMessage()
    assert "broken" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_async_receiver_that_cannot_be_called_here_is_logged(connect, caplog):
    async def receiver(**_): ...

    connect(job_queued, receiver)

    async def in_a_loop():
        announce(job_queued, int)

    asyncio.run(in_a_loop())
    [record] = [record for record in caplog.records if record.name == "djqueue"]
    assert "could not be sent" in record.getMessage()


def test_an_async_receiver_is_called_outside_a_loop(connect):
    seen = []

    async def receiver(**_):
        seen.append(True)

    connect(job_queued, receiver)
    announce(job_queued, int)
    assert seen == [True]


def test_without_receivers_not_even_the_sender_is_looked_at():
    class Unhashable:
        __hash__ = None

    announce(Signal(use_caching=True), Unhashable())


def test_every_public_signal_is_listed():
    made = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert made <= set(signals.__all__)
