"""Jobs and middleware that say what they do."""

from __future__ import annotations

import asyncio
import threading

from djqueue import Job, current_job, job

trail = []


class Note:
    """Says when it is entered and left."""

    def __init__(self, name="settings"):
        self.name = name

    def __call__(self, job, next):
        assert job is current_job()
        trail.append(f"{self.name} in")
        try:
            return next(job)
        finally:
            trail.append(f"{self.name} out")


class AsyncNote(Note):
    async def __call__(self, job, next):
        assert job is current_job()
        trail.append(f"{self.name} in")
        await asyncio.sleep(0)
        value = await next(job)
        trail.append(f"{self.name} out")
        return value


def upper(job, next):
    return next(job).upper()


def stop(job, next):
    return "stopped"


def fail(job, next):
    job.fail("not today")


def release(job, next):
    job.release(30)


def release_after(job, next):
    next(job)
    job.release(30)


@job(name="tests.middleware_work")
def work(value: str = "done") -> str:
    trail.append(f"work {threading.current_thread() is threading.main_thread()}")
    return value


@job(name="tests.middleware_awork")
async def awork(value: str = "done") -> str:
    await asyncio.sleep(0)
    trail.append("work")
    return value


class Chosen(Job, name="tests.middleware_chosen", middleware=[Note("class")]):
    own: bool

    def middleware(self):
        return [*super().middleware(), Note("own")] if self.own else []

    def handle(self) -> None:
        trail.append("work")
