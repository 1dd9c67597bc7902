"""The spans of OpenTelemetry, named by its semantic conventions for messaging.

A dispatch is ``send <queue>``, an attempt ``process <queue>``. The headers in a payload are those
of the propagators in use: W3C Trace Context and Baggage unless ``OTEL_PROPAGATORS`` says otherwise.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from djqueue.conf import settings
from djqueue.payload.encryption import is_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from djqueue.tracing.spans import Delivery

__all__ = ["OpenTelemetry", "OpenTelemetrySpan"]

logger = logging.getLogger("djqueue")

_SYSTEMS = {"redis": "redis", "sqs": "aws_sqs", "beanstalkd": "beanstalkd"}
"""``messaging.system`` by ``DRIVER``."""
_NAMES = {
    "queue": "messaging.destination.name",
    "id": "messaging.message.id",
    "size": "messaging.message.body.size",
    "count": "messaging.batch.message_count",
    "error": "error.type",
}
"""Attributes that the conventions have; all others are djqueue's own."""


_LARGEST = 4 * 1024
"""Characters of the headers that a job carries beside its context, which has a limit of its own."""


class OpenTelemetrySpan:
    """A span, or nothing if it could not be made."""

    def __init__(self, operation: str, span: trace.Span | None) -> None:
        self._operation = operation
        self._span = span

    def tell(self, **attributes: str | int | None) -> None:
        """Set attributes; None is left out. ``queue`` is in its name too."""
        if self._span is None:
            return
        known = {_named(name): each for name, each in attributes.items() if each is not None}
        self._span.set_attributes(known)
        if queue := attributes.get("queue"):
            self._span.update_name(f"{self._operation} {queue}")

    def failed(self, kind: str, message: str, traceback: str) -> None:
        """Record an error: the span ends with that status."""
        if self._span is None:
            return
        self._span.add_event(
            "exception",
            {
                "exception.type": kind,
                "exception.message": message,
                "exception.stacktrace": traceback,
            },
        )
        self._span.set_status(StatusCode.ERROR, f"{kind}: {message}" if message else kind)
        self.tell(error=kind)


class OpenTelemetry:
    """Makes spans with the tracer provider of the process, whenever that is set."""

    def __init__(self, *, is_parent: bool) -> None:
        """`is_parent`: the span of a dispatch is the parent of those of its attempts, which are in
        its trace. Else they begin traces of their own, and are linked to it.
        """
        self._is_parent = is_parent
        self._tracer = trace.get_tracer("djqueue")

    def headers(self) -> Mapping[str, str]:
        """Return what binds the spans of a job to the present one."""
        found: dict[str, str] = {}
        try:
            propagate.inject(found)
        except Exception:  # a propagator of the project's
            logger.exception("The trace of a dispatch could not be carried into its job.")
        return _fitting(_headers(found))

    @contextmanager
    def sending(self, connection: str | None, queue: str | None) -> Iterator[OpenTelemetrySpan]:
        """Open the span of a dispatch; None: there are several."""
        attributes = _attributes("send", connection, queue=queue)
        with self._opened(SpanKind.PRODUCER, attributes) as span:
            yield span

    @contextmanager
    def processing(self, delivery: Delivery) -> Iterator[OpenTelemetrySpan]:
        """Open the span of an attempt."""
        attributes = _attributes(
            "process",
            delivery.connection,
            queue=delivery.queue,
            id=delivery.id,
            size=delivery.size,
            job=delivery.name,
            attempt=delivery.attempt,
        )
        with self._opened(SpanKind.CONSUMER, attributes, _headers(delivery.headers)) as span:
            yield span

    @contextmanager
    def _opened(
        self,
        kind: SpanKind,
        attributes: dict[str, str | int],
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[OpenTelemetrySpan]:
        operation = str(attributes["messaging.operation.name"])
        queue = attributes.get("messaging.destination.name")
        name = f"{operation} {queue}" if queue else operation
        span = token = None
        try:
            around, links = self._surroundings(headers or {})
            span = self._tracer.start_span(name, around, kind, attributes, links)
            token = context.attach(trace.set_span_in_context(span, around))
        except Exception:  # a sampler or processor of the project's
            logger.exception("The span of %s could not be made.", name)
        try:
            yield OpenTelemetrySpan(operation, span)
        finally:
            if token is not None:
                context.detach(token)
            if span is not None:
                _end(span, name)

    def _surroundings(self, headers: Mapping[str, str]) -> tuple[context.Context, list[Link]]:
        """Return the context of a new span, and its links."""
        here = context.get_current()
        if not headers:
            return here, []
        sent = propagate.extract(headers, here)
        dispatched = trace.get_current_span(sent).get_span_context()
        if self._is_parent:
            return sent, []
        for key, value in baggage.get_all(sent).items():
            here = baggage.set_baggage(key, value, here)
        around = trace.get_current_span(here).get_span_context()
        is_other = dispatched.is_valid and dispatched.span_id != around.span_id
        return here, [Link(dispatched)] if is_other else []


def _end(span: trace.Span, name: str) -> None:
    try:
        span.end()
    except Exception:  # a processor of the project's
        logger.exception("The span of %s could not be ended.", name)


def _attributes(
    operation: str, connection: str | None, **more: str | int | None
) -> dict[str, str | int]:
    known = settings().connections.get(connection or "")
    found: dict[str, str | int] = {
        "messaging.system": _SYSTEMS.get(known.driver if known else "", "djqueue"),
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if connection is not None:
        found["djqueue.connection"] = connection
    found.update({_named(name): each for name, each in more.items() if each is not None})
    return found


def _named(name: str) -> str:
    return _NAMES.get(name) or f"djqueue.{name}"


def _fitting(headers: dict[str, str]) -> dict[str, str]:
    """Leave out baggage, and what else has no ids, where it is too large to travel with jobs."""
    size = sum(map(len, headers.values()))
    if size <= _LARGEST:
        return headers
    logger.warning(
        "The headers of a trace have %d characters, and a job carries %d: its baggage is left out.",
        size,
        _LARGEST,
    )
    return {key: value for key, value in headers.items() if is_trace_id(key)}


def _headers(found: Mapping[str, object]) -> dict[str, str]:
    """Return what may be in a payload, or may be read from one."""
    return {key: value for key, value in found.items() if isinstance(value, str)}
