"""Whether dispatches and attempts leave spans, and what makes these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed

from djqueue.conf import settings

if TYPE_CHECKING:
    from djqueue.tracing.spans import Tracer

__all__ = ["MISSING", "Tracing", "tracing"]

MISSING = (
    'DJQUEUE["OPENTELEMETRY"] needs the package opentelemetry-api: pip install "djqueue[otel]"'
)


class Tracing:
    """The tracer of this process."""

    tracer: Tracer | None = None
    """None: there are no spans."""

    def follow_setting(self, setting: str = "DJQUEUE", **_: Any) -> None:
        """Take up or drop the tracer, as the setting says. Without the package, which a check
        reports, there are no spans.
        """
        if setting != "DJQUEUE":
            return
        mode = settings().opentelemetry
        self.tracer = None
        if mode is not None:
            try:
                from djqueue.tracing.opentelemetry import OpenTelemetry
            except ImportError:
                return
            self.tracer = OpenTelemetry(is_parent=mode == "parent")


tracing = Tracing()
setting_changed.connect(tracing.follow_setting, dispatch_uid="djqueue.tracing")
