"""The admin, and a page that imports a table."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from demo_project.shop.views import ImportPage

urlpatterns = [
    path("admin/", admin.site.urls),
    path("jobs/", include("djqueue.urls")),
    path("import/", ImportPage.as_view(), name="import"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
