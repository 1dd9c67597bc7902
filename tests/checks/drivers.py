"""A driver of a project's own."""

from __future__ import annotations

from django.core import checks

from djqueue.conf.kinds import TEXT, Option
from djqueue.drivers.base import Capabilities
from djqueue.drivers.local import NullDriver


class ShelfDriver(NullDriver):
    OPTIONS = {"SHELF": Option("left", TEXT)}
    capabilities = Capabilities(tagged_queues=True)

    @classmethod
    def check(cls, settings):
        if settings.option("SHELF") == "top":
            text = f"{settings.name}: top is too high"
            return [checks.Error(text, hint="Take a lower one.", id="djqueue.E001")]
        return []
