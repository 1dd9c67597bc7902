from __future__ import annotations

from django.apps import AppConfig

from tests.torture import points


class CrashingConfig(AppConfig):
    """Makes a worker die where a test wants it to."""

    name = "tests.torture"

    def ready(self) -> None:
        points.install()
