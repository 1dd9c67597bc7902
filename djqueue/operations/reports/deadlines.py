"""Asking stores in threads of their own, so that one that does not answer holds up nothing else."""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError, connections

from djqueue.dispatch.connections import queues
from djqueue.errors import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]

T = TypeVar("T")


def in_thread(ask: Callable[[], T], name: str, seconds: float) -> Callable[[], T]:
    """Begin `ask`, about the connection `name`, in a thread. Return a function that waits for its
    result, until `seconds` after the beginning: then it raises `QueueUnavailable`. The thread ends
    when the store's own time limit does.
    """
    future: Future[T] = Future()
    until = time.monotonic() + seconds
    Thread(target=_answer, args=(ask, future), daemon=True, name=f"djqueue-{name}").start()

    def wait() -> T:
        try:
            return future.result(max(until - time.monotonic(), 0))
        except NoAnswer:
            raise QueueUnavailable(f"It did not answer within {seconds:g} s.") from None

    return wait


def _answer(ask: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(ask())
    except QueueError as error:
        future.set_exception(error)
    except DatabaseError as error:
        future.set_exception(QueueUnavailable(str(error)))
    except BaseException as error:
        future.set_exception(error)
        raise
    finally:
        queues.close_all()
        connections.close_all()
