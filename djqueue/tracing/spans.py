"""What a span is to those that open one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

__all__ = ["NO_SPAN", "Delivery", "NoSpan", "Span", "Tracer"]


class Delivery(NamedTuple):
    """A job that an attempt begins to run."""

    connection: str
    queue: str
    id: str
    name: str
    attempt: int
    size: int
    """Bytes of its payload."""
    headers: Mapping[str, Any]
    """What its dispatch carried into it."""


class Span(Protocol):
    """A span that is open."""

    def tell(self, **attributes: str | int | None) -> None:
        """Set attributes; None is left out. ``queue`` is in its name too."""

    def failed(self, kind: str, message: str, traceback: str) -> None:
        """Record an error: the span ends with that status."""


class NoSpan:
    """Where there are none."""

    def tell(self, **attributes: str | int | None) -> None:
        """Do nothing."""

    def failed(self, kind: str, message: str, traceback: str) -> None:
        """Do nothing."""


NO_SPAN = NoSpan()


class Tracer(Protocol):
    """Makes spans. An error of what exports them is logged, never raised."""

    def headers(self) -> Mapping[str, str]:
        """Return what binds the spans of a job to the present one."""

    def sending(self, connection: str | None, queue: str | None) -> AbstractContextManager[Span]:
        """Open the span of a dispatch; None: there are several."""

    def processing(self, delivery: Delivery) -> AbstractContextManager[Span]:
        """Open the span of an attempt."""
