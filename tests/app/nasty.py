"""Jobs whose errors are hostile themselves."""

from __future__ import annotations

import os
import sys
from typing import Any

from djqueue import Job, current_job, job
from tests.hostile import FORGERY


class Nasty(Exception):
    """Its own methods do what `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how

    def __str__(self) -> str:
        if self.how == "str":
            raise ZeroDivisionError("in __str__")
        if self.how == "str exits":
            sys.exit("in __str__")
        texts: dict[str, Any] = {
            "huge": "x" * 10_000_000,
            "nul": "a\0b",
            "surrogate": "a\ud800b",
            "forged": FORGERY,
            "html": "<script>alert(1)</script>",
            "no args": None,
        }
        return texts.get(self.how, self.how)

    def __repr__(self) -> str:
        raise ZeroDivisionError("in __repr__")


@job(name="app.raises_nastily", tries=1)
def raises_nastily(how: str) -> None:
    if how == "system exit":
        sys.exit(FORGERY)
    if how == "keyboard interrupt":
        raise KeyboardInterrupt(FORGERY)
    if how == "generator exit":
        raise GeneratorExit(FORGERY)
    if how == "recursion":
        _forever()
    if how == "chained":
        error = Nasty("str")
        error.__cause__ = other = Nasty("huge")
        other.__cause__ = error
        raise error
    if how == "class name":
        raise type("\r\n" + FORGERY + "\ud800\0" * 1000, (Exception,), {"__module__": FORGERY})("x")
    if how == "group" and sys.version_info >= (3, 11):
        raise ExceptionGroup(  # noqa: F821 - built in from 3.11 on
            FORGERY, [Nasty("str"), Nasty("surrogate")]
        )
    error = Nasty(how)
    if how == "notes":
        error.__notes__ = ["\ud800\0", FORGERY]
    raise error


def _forever() -> None:
    _forever()


@job(name="app.releases_for", tries=1)
def releases_for(delay: float) -> None:
    current_job().release(delay)


class DiesWhenTold(Job, name="app.DiesWhenTold", tries=1):
    """Fails, and takes its process along when it hears of it."""

    def handle(self) -> None:
        raise ValueError("no")

    def failed(self, error: BaseException) -> None:
        os._exit(3)
