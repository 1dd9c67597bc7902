"""How an attempt ended, in a form that crosses process boundaries."""

from __future__ import annotations

import hashlib
import os
import traceback
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from djqueue.decision import Action, Decision, Happened

MESSAGE_LIMIT = 1000
TRACEBACK_LIMIT = 64 * 1024
_LIBRARY = (
    f"{os.sep}site-packages{os.sep}",
    f"{os.sep}lib{os.sep}python",
    f"{os.sep}djqueue{os.sep}",
)


class ErrorReport(NamedTuple):
    """What is kept of an exception."""

    class_name: str
    """Dotted, as in ``shop.errors.OutOfStock``; built-in ones by their name alone."""
    message: str
    traceback: str
    place: str = ""
    """``file:function`` of the deepest frame of the project's own code."""

    def fingerprint(self, job: str) -> str:
        """Equal for failures of `job` with this class at this place."""
        text = f"{job}\0{self.class_name}\0{self.place}"
        return hashlib.sha1(
            text.encode(errors="backslashreplace"), usedforsecurity=False
        ).hexdigest()


class Outcome(NamedTuple):
    """The end of one attempt."""

    happened: Happened
    decision: Decision
    error: ErrorReport | None = None
    history: str | None = None
    """What to store beside the job from now on; None: as before."""
    settled: bool = False
    """The job's own transaction has settled it already (`atomic`)."""
    charged: bool = True
    """False: the attempt does not count (released before ``handle`` began)."""
    duration: float = 0.0
    """Seconds."""


DONE = Outcome(Happened.RETURNED, Decision(Action.DONE))


def report(error: BaseException) -> ErrorReport:
    """Describe an exception. Never raises, whatever the exception's own methods do."""
    cls = type(error)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    return ErrorReport(
        class_name=_clean(name, 255),
        message=_clean(_message(error), MESSAGE_LIMIT),
        traceback=_clean(_traceback(error), TRACEBACK_LIMIT, keep_end=True),
        place=_place(error.__traceback__),
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - the job's own exception class may do anything in __str__
        return f"<its text could not be made: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as broken:  # noqa: BLE001 - as above: causes and contexts are user objects too
        return (
            f"{type(error).__name__}: <its traceback could not be made: {type(broken).__name__}>\n"
        )


def _clean(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Text that every database can store: no NUL, no lone surrogate, bounded."""
    text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    if keep_end:
        return f"… {len(text) - limit} characters left out …\n{text[-limit:]}"
    return text[: limit - 1] + "…"


def _place(trace: TracebackType | None) -> str:
    own, last = "", ""
    while trace is not None:
        code = trace.tb_frame.f_code
        last = f"{Path(code.co_filename).name}:{code.co_name}"
        if not any(part in code.co_filename for part in _LIBRARY):
            own = last
        trace = trace.tb_next
    return own or last
