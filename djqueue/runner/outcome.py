"""How an attempt ended, in a form that crosses process boundaries."""

from __future__ import annotations

import builtins
import hashlib
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

from djqueue.drivers.base import Reservation, Settlement, Verdict
from djqueue.errors import JobFailed
from djqueue.runner.decision import DONE, Action, Decision, Ending
from djqueue.text.masking import masked_text
from djqueue.text.printable import lines
from djqueue.text.tracebacks import formatted, is_library

MESSAGE_LIMIT = 1000
TRACEBACK_LIMIT = 64 * 1024


class ErrorReport(NamedTuple):
    """What is kept of an exception."""

    class_name: str
    """Dotted, as in ``shop.errors.OutOfStock``; built-in ones by their name alone."""
    message: str
    traceback: str
    place: str = ""
    """``file:function`` of the deepest frame of the project's own code."""
    encrypted: str = ""
    """A token with the words of both, of an encrypted job: `djqueue.runner.encrypted.errors`."""

    def fingerprint(self, job: str) -> str:
        """Equal for failures of `job` with this class at this place."""
        text = f"{job}\0{self.class_name}\0{self.place}"
        return hashlib.sha1(
            text.encode(errors="backslashreplace"), usedforsecurity=False
        ).hexdigest()


PassedOn = Mapping[str, Any]
"""What a job leaves to those that follow it: JSON values, by their names."""
_NOTHING: PassedOn = MappingProxyType({})


class Outcome(NamedTuple):
    """The end of one attempt."""

    ending: Ending
    decision: Decision
    error: ErrorReport | None = None
    history: str | None = None
    """What to store beside the job from now on; None: as before."""
    settled: bool = False
    """The job's own transaction has settled it already (`atomic`)."""
    charged: bool = True
    """False: the attempt does not count, since ``handle`` was not begun or the worker stops."""
    duration: float = 0.0
    """Seconds."""
    spoilt: bool = False
    """No other job must run in the process that this one ran in."""
    awaited: bool = False
    """Code of the project is to be called when the outcome is stored: ``failed()``, receivers of a
    signal, handlers of the log."""
    unseen: bool = False
    """The process that ran the job could not say so itself: it has died."""
    passed_on: PassedOn = _NOTHING
    """What it leaves to the jobs that follow it; empty but for jobs that are bound to others."""

    @property
    def repeats(self) -> bool:
        """Whether the job runs again. If not, it has ended."""
        return self.decision.action in _REPEATS

    def settlement_of(self, reservation: Reservation) -> Settlement:
        """What the store is to do with the job."""
        decision = self.decision
        if decision is DONE or decision.action not in _REPEATS:
            return Settlement(reservation)
        if decision.action is Action.INTERRUPT:
            return Settlement(reservation, Verdict.INTERRUPTED, history=self.history)
        return Settlement(reservation, Verdict.RELEASE, decision.delay, self.charged, self.history)


_REPEATS = (Action.RETRY, Action.INTERRUPT)


class End(NamedTuple):
    """The end of an attempt: what is settled, what follows, and what is announced later."""

    reservation: Reservation
    outcome: Outcome
    plain: bool = False
    """A database refused a row about it: only ASCII is written."""

    @property
    def id(self) -> str:
        """The job's."""
        return self.reservation.id


def report(error: BaseException) -> ErrorReport:
    """Describe an exception, without the secrets that its words give away. Never raises, whatever
    the exception's own methods do.
    """
    cls = type(error)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    return ErrorReport(
        class_name=_clean(name, 255),
        message=_clean(masked_text(_message(error)[: 2 * MESSAGE_LIMIT]), MESSAGE_LIMIT),
        traceback=cleaned_traceback(_traceback(error)),
        place=_place(error.__traceback__),
    )


def cleaned_traceback(text: str) -> str:
    """Return a traceback as it is stored: masked, bounded, with what databases take."""
    return _clean(_masked_end(text), TRACEBACK_LIMIT, keep_end=True)


class TracebackText(Exception):  # noqa: N818 - never raised
    """The cause of an exception whose traceback is a text: it was raised in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def exception_of(described: ErrorReport) -> BaseException:
    """An exception with the class and the text of the one that was described, and no frames.

    Where the class cannot be found, or does not let an instance be made, it is `JobFailed`.
    """
    error = _again(described) or JobFailed(f"{described.class_name}: {described.message}")
    if described.traceback:
        error.__cause__ = TracebackText(lines(described.traceback))
    return error


def _again(described: ErrorReport) -> BaseException | None:
    cls = _class_of(described.class_name)
    if cls is None:
        return None
    message = described.message
    try:
        # Not by its constructor, whose arguments are no longer known.
        built_in: Any = next(base for base in cls.__mro__ if base.__module__ == "builtins")
        error: BaseException = built_in.__new__(cls, message)
        if _message(error) != message:
            shown = {"__str__": lambda self: message, "__module__": cls.__module__}
            kind: Any = type(cls)
            with_text = kind(cls.__name__, (cls,), {**shown, "__qualname__": cls.__qualname__})
            error = built_in.__new__(with_text, message)
    except Exception:  # noqa: BLE001 - a class of the project's may refuse anything
        return None
    return error


def _class_of(name: str) -> type[BaseException] | None:
    """The exception class of that dotted name, among what is imported already."""
    module, _, qualname = name.rpartition(".")
    found: Any = builtins if not module else sys.modules.get(module)
    while found is None and module:
        module, _, outer = module.rpartition(".")
        qualname = f"{outer}.{qualname}"
        found = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def without_frames(error: BaseException) -> None:
    """Cut an exception, and all that is chained to it, from the frames it passed: they hold every
    local variable there was, and would live as long as the exception does.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - the job's own exception class may do anything in __str__
        return f"<its text could not be made: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return formatted(error)
    except BaseException as broken:  # noqa: BLE001 - as above: causes and contexts are user objects too
        return (
            f"{type(error).__name__}: <its traceback could not be made: {type(broken).__name__}>\n"
        )


def _masked_end(text: str) -> str:
    """`text` masked, but for what `_clean` cuts off."""
    most = TRACEBACK_LIMIT + 4096  # a name and its value are seldom further apart
    return text[:-most] + masked_text(text[-most:])


def _clean(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Text that every database can store: no NUL, no lone surrogate, bounded."""
    text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    if keep_end:
        return f"… {len(text) - limit} characters left out …\n{text[-limit:]}"
    return text[: limit - 1] + "…"


def _place(trace: TracebackType | None) -> str:
    own = last = None
    while trace is not None:
        last = trace.tb_frame.f_code
        if not is_library(last.co_filename):
            own = last
        trace = trace.tb_next
    code = own or last
    return f"{os.path.basename(code.co_filename)}:{code.co_name}" if code else ""  # noqa: PTH119
