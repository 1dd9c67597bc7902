"""Those of the tests, and Grappelli's own."""

from __future__ import annotations

from django.apps import apps
from django.urls import include, path

from tests.urls import urlpatterns as _usual

urlpatterns = [*_usual]
if apps.is_installed("grappelli"):
    urlpatterns.insert(0, path("grappelli/", include("grappelli.urls")))
