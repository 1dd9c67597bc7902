"""Jobs of the project that the documentation's tests run."""

from __future__ import annotations

from djqueue import Job


class Fail(Job, tries=1):
    """Fails, so that a failed row is stored."""

    def handle(self):
        raise ValueError("as it should")
