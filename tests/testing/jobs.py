"""What the tests of the test helpers dispatch."""

from __future__ import annotations

from django.db import transaction

from djqueue import Job, current_job, job
from tests.app.models import Note

ran: list[object] = []


class Write(Job, name="test.testing.Write", queue="notes"):
    """Leaves a row."""

    text: str
    copies: int = 1

    def handle(self) -> None:
        ran.append(self.text)
        for _ in range(self.copies):
            Note.objects.create(text=self.text)


class WriteTwice(Write, name="test.testing.WriteTwice"):
    """Is a `Write` too."""


@job(name="test.testing.greet", queue="mail")
def greet(who: str, *, loudly: bool = False) -> None:
    ran.append(who.upper() if loudly else who)


@job(name="test.testing.pass_on")
def pass_on(text: str) -> None:
    ran.append("pass_on")
    Write(text).dispatch()


class Fail(Job, name="test.testing.Fail"):
    """Writes, raises, and notes that it was given up."""

    text: str = "before"

    def handle(self) -> None:
        Note.objects.create(text=self.text)
        raise ValueError("no")

    def failed(self, error: BaseException) -> None:
        ran.append(f"failed: {error}")


@job(name="test.testing.flaky", tries=3, backoff=60)
def flaky() -> None:
    ran.append(current_job().attempt)
    if current_job().attempt < 3:
        raise ConnectionError("again")


@job(name="test.testing.collide")
def collide() -> None:
    """Breaks the transaction that it runs in, where the database lets it be broken."""
    note = Note.objects.create(text="first")
    Note.objects.create(id=note.pk, text="second")


@job(name="test.testing.enter_in_ledger", atomic=True)
def enter_in_ledger(text: str, well: bool = True) -> None:
    Note.objects.create(text=text)
    if not well:
        raise ValueError("no")


@job(name="test.testing.after_commit")
def after_commit() -> None:
    transaction.on_commit(lambda: ran.append("committed"))


@job(name="test.testing.asynchronous")
async def asynchronous() -> None:
    await Note.objects.acreate(text="asynchronous")
