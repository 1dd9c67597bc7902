"""Settings of a worker that writes its spans into a file, in the background as in production."""

from __future__ import annotations

import json
import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tests.worker_settings import *  # noqa: F403


class ToFile(SpanExporter):
    def export(self, spans):
        with Path(os.environ["DJQUEUE_TEST_SPANS"]).open("a") as file:
            file.writelines(json.dumps(line(span)) + "\n" for span in spans)
        return SpanExportResult.SUCCESS


def line(span):
    return {
        "name": span.name,
        "trace": f"{span.context.trace_id:032x}",
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
        "outcome": span.attributes.get("djqueue.outcome"),
        "status": span.status.status_code.name,
    }


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
