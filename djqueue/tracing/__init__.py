"""OpenTelemetry: a span for each dispatch and for each attempt, bound across processes by headers
in the payload. `djqueue.tracing.opentelemetry` alone imports the package, where the setting asks
for it.
"""
