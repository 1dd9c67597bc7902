"""Steps of chains that note what they do."""

from __future__ import annotations

import time

from djqueue import current_job, job
from tests.app.models import Note
from tests.ledger import write


@job(name="app.step", tries=20, max_interruptions=50)
def step(chain: int, number: int, seconds: float = 0.0) -> list[int]:
    """A step, which passes on its number and those before it."""
    write("begin", f"{chain}.{number}")
    if seconds:
        time.sleep(seconds)
    passed_on = [*(current_job().previous or ()), number]
    write("end", f"{chain}.{number} {passed_on}")
    return passed_on


@job(name="app.atomic_step", tries=20, max_interruptions=50, atomic=True)
def atomic_step(chain: int, number: int, seconds: float = 0.0) -> list[int]:
    """The same, with a row in the transaction that ends the job."""
    passed_on = [*(current_job().previous or ()), number]
    write("begin", f"{chain}.{number}")
    Note.objects.create(text=f"{chain}.{number} {passed_on}")
    if seconds:
        time.sleep(seconds)
    return passed_on


@job(name="app.last_step", tries=1)
def last_step(chain: int) -> None:
    """Fail, for good."""
    write("begin", f"{chain}.last")
    raise ValueError("broken")


@job(name="app.alert", tries=20, max_interruptions=50)
def alert(chain: int) -> None:
    """What runs when a chain breaks."""
    write("alert", chain)


@job(name="app.member", tries=20, max_interruptions=50)
def member(batch: int, number: int, seconds: float = 0.0) -> None:
    """A member of a batch."""
    write("begin", f"{batch}.{number}")
    if seconds:
        time.sleep(seconds)
    write("end", f"{batch}.{number}")


@job(name="app.atomic_member", tries=20, max_interruptions=50, atomic=True)
def atomic_member(batch: int, number: int) -> None:
    """The same, with a row in the transaction that ends the job."""
    write("begin", f"{batch}.{number}")
    Note.objects.create(text=f"{batch}.{number}")


@job(name="app.failing_member", tries=1, max_interruptions=50)
def failing_member(batch: int, number: int) -> None:
    """One that fails, for good."""
    write("begin", f"{batch}.{number}")
    raise ValueError("broken")


@job(name="app.called_for", tries=20, max_interruptions=50)
def called_for(batch: int, what: str) -> None:
    """What the state of a batch calls for."""
    write(what, batch)
