from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "demo_project.shop"
    label = "shop"

    def ready(self) -> None:
        from demo_project.shop import receivers  # noqa: F401 - connects them
