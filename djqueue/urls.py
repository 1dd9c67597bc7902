"""URLs to include in those of a project: ``path("jobs/", include("djqueue.urls"))``.

``<id>/`` is the result of a job as JSON, for its owner alone: see `djqueue.http.result`.
``metrics/`` is what Prometheus reads: see `djqueue.http.metrics`.
``health/`` is for load balancers: see `djqueue.http.health`.
"""

from __future__ import annotations

from django.urls import path

from djqueue.http import health, metrics, result

app_name = "djqueue"
urlpatterns = [
    path("<uuid:id>/", result, name="result"),
    path("metrics/", metrics, name="metrics"),
    path("health/", health, name="health"),
]
