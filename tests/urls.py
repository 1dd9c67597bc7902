"""URLs of the test project: the admin, results, and a page that shows one."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

PAGE = """{% load djqueue %}<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>Progress</title>{% job_progress_script %}</head>
<body>{% for job in jobs %}{% job_progress job %}{% endfor %}</body></html>"""


def progress(request: HttpRequest, job: str) -> HttpResponse:
    """A page of a project with the progress of a job, or of several between commas."""
    return HttpResponse(Template(PAGE).render(RequestContext(request, {"jobs": job.split(",")})))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("jobs/", include("djqueue.urls")),
    path("progress/<job>/", progress),
]
