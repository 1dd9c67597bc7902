from __future__ import annotations

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """The application of the tests; its tables come without migrations."""

    name = "tests.app"
    label = "app"
    default_auto_field = "django.db.models.BigAutoField"
