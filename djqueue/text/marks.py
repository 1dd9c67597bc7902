"""Marks on exceptions, which decide whether their words may be stored and shown.

An exception that has left an encrypted job may reach its caller, in another job, or in no job. One
in djqueue's own words is trusted wherever it is: code of the project may raise the same classes
with words of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

__all__ = ["in_own_words", "is_in_own_words", "is_marked", "mark"]

_ENCRYPTED, _OWN = "_djqueue_is_encrypted", "_djqueue_says"
_MOST = 1_000
"""Exceptions that are looked at, behind one."""

E = TypeVar("E", bound=BaseException)


def mark(error: BaseException, *, encrypted: bool = True) -> None:
    """Note that the words of an exception are those of an encrypted job, if it is one."""
    if encrypted:
        _set(error, _ENCRYPTED)


def is_marked(error: BaseException) -> bool:
    """Return whether the exception, or any that is chained to it or in its group, is of an
    encrypted job: a traceback has the words of all of them.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left and len(seen) < _MOST:
        one = left.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if _has(one, _ENCRYPTED):
            return True
        seen.add(id(one))
        left += [one.__cause__, one.__context__, *_inner(one)]
    return bool(left)  # too many: as if it were


def in_own_words(error: E) -> E:
    """Return an exception of djqueue's, whose words hold nothing of a job's."""
    _set(error, _OWN)
    return error


def is_in_own_words(error: BaseException) -> bool:
    """Return whether `in_own_words` was called with it."""
    return _has(error, _OWN)


def _inner(error: BaseException) -> tuple[BaseException, ...]:
    found = getattr(error, "exceptions", ())  # a class of the project's may have anything there
    return tuple(found) if isinstance(found, (list, tuple)) else ()


def _set(error: BaseException, name: str) -> None:
    with suppress(AttributeError, TypeError):
        object.__setattr__(error, name, True)


def _has(error: BaseException, name: str) -> bool:
    try:
        return bool(object.__getattribute__(error, name))
    except AttributeError:
        return False
