"""Settings of a worker that dies at the points that a test arms."""

from __future__ import annotations

from tests.worker_settings import *  # noqa: F403
from tests.worker_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.torture.apps.CrashingConfig"]
