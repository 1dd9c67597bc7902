"""What these tests dispatch."""

from __future__ import annotations

from django.db import connection

from djqueue import Job, current_job, job
from tests.app.models import Note

ran: list[object] = []


class Write(Job, name="test.bus.Write"):
    """A job without options."""

    text: str = ""

    def handle(self) -> str:
        ran.append(self.text)
        return self.text.upper()


class Optioned(
    Job,
    name="test.bus.Optioned",
    queue="of-class",
    priority=5,
    tries=3,
    tags=["class"],
    message_group=lambda job: f"group-{job.number}",
    deduplication_id="once",
    retry_until=600,
):
    """A job with many."""

    number: int

    def handle(self) -> None:
        pass


def domain(job: Job) -> str:
    """Raises for what is no address; asks the database what it cannot know for some."""
    who = job.who
    if who.startswith("SQL"):
        connection.cursor().execute("SELECT nothing FROM nowhere")
    return str(who.split("@")[1])


class Grouped(Job, name="test.bus.Grouped", message_group=domain):
    """A job whose group is computed."""

    who: str

    def handle(self) -> None:
        pass


class Fail(Job, name="test.bus.Fail"):
    """A job that fails."""

    def handle(self) -> None:
        raise ValueError("it failed")

    def failed(self, error: BaseException) -> None:
        ran.append(error)


class AfterCommit(Job, name="test.bus.AfterCommit", connection="sync", after_commit=True):
    """A job that asks for the commit even on sync."""

    def handle(self) -> None:
        ran.append("committed")


class NoteText(Job, name="test.bus.NoteText"):
    """A job with a model."""

    note: Note

    def handle(self) -> str:
        return self.note.text


@job(name="test.bus.add")
async def add(a: int, b: int = 1) -> int:
    """A coroutine function."""
    ran.append(current_job().connection)
    return a + b
