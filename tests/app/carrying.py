"""Jobs that say in which context they run."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.utils import timezone, translation

from djqueue import Job, context, current_job, job
from djqueue.signals import job_released, job_succeeded
from tests.ledger import write

SECRET = "s3cret-of-the-tests"


def seen() -> dict[str, Any]:
    """What code that runs here sees of the context."""
    return {
        **context.values(),
        "secret": context.get("token") == SECRET,
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
    }


def note(what: str) -> None:
    """Leave a line in the ledger about it."""
    write(what, json.dumps(seen(), sort_keys=True))


@job(name="app.carries")
def carries(how: str = "") -> dict[str, Any]:
    """Say it; and then do so."""
    note("handle")
    found = seen()
    if how == "dispatch":
        carries.dispatch()
    if how == "fail":
        raise ValueError("no")
    if how == "spoil":
        context.add("spoilt", value=True)
        translation.activate("fr")
        timezone.activate("America/Lima")
    if how == "release" and current_job().attempt == 1:
        current_job().release()
    return found


class Carries(Job, name="app.Carries", tries=1):
    """The same, with a ``failed()``."""

    how: str = "fail"

    def handle(self) -> None:
        note("handle")
        if self.how == "fail":
            raise ValueError("no")

    def failed(self, error: BaseException) -> None:
        note("failed")


@job(name="app.acarries")
async def acarries() -> None:
    """The same in a coroutine, which dispatches another."""
    note("handle")
    await carries.adispatch()


def hear() -> None:
    """Connect receivers that say it too."""
    for signal, what in ((job_succeeded, "succeeded"), (job_released, "released")):
        signal.connect(_hear(what), weak=False, dispatch_uid=f"carrying.{what}")


def deafen() -> None:
    """Disconnect them."""
    for signal, what in ((job_succeeded, "succeeded"), (job_released, "released")):
        signal.disconnect(dispatch_uid=f"carrying.{what}")


def _hear(what: str) -> Any:
    def heard(**_: Any) -> None:
        note(what)

    return heard


if getattr(settings, "HEARS_CONTEXT", False):
    hear()
