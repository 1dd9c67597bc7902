"""A driver that keeps its jobs in one JSON file: for one machine, and for few jobs."""

import fcntl
import json
import os
import time
import uuid
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from djqueue.conf.kinds import TEXT, Option
from djqueue.drivers import base
from djqueue.drivers.base import Reservation, Settlement, State, Verdict
from djqueue.errors import QueueUnavailable

FREE = {"handle": [None, None], "reserved": None, "until": None}
NEW = {"attempt": 0, "interruptions": 0, "history": "", **FREE}
TIMES = ("created", "available", "reserved", "until")


class FileDriver(base.Driver):
    """What those see who dispatch."""

    OPTIONS = {"PATH": Option("jobs.json", TEXT)}

    def push(self, jobs):
        with stored(self.settings) as there:
            for job in jobs:  # an id that is there already changes nothing
                times = {"created": time.time(), "available": time.time() + job.delay}
                there.setdefault(job.id, job._asdict() | times | NEW)

    def session(self, worker=None):
        return FileSession(self.settings, worker)

    def inspector(self):
        return FileInspector(self.settings, self.capabilities)


class FileSession(base.Session):
    """What a worker sees."""

    def __init__(self, settings, worker):
        self.settings = settings
        self.me = (uuid.uuid4().hex, worker.name if worker else None)

    @property
    def lease(self):
        return self.settings.retry_after

    def exchange(self, settlements, queues, limit):
        found = []
        with stored(self.settings) as there:
            lost = {each.reservation.id for each in settlements if not settle(there, each)}
            for queue in queues:
                for job in select(there, queue, State.WAITING)[: max(limit - len(found), 0)]:
                    job["attempt"] += 1
                    found.append(self.take(job))
        return base.Exchange(lost, found)

    def take(self, job):
        """Reserve a job under a new handle, which makes an earlier one invalid."""
        job["handle"] = [*self.me, uuid.uuid4().hex]
        job |= {"reserved": time.time(), "until": time.time() + self.lease}
        return reserved(job)

    def extend(self, reservations):
        with stored(self.settings) as there:
            held = [r for r in reservations if there.get(r.id, NEW)["handle"] == r.handle]
            for reservation in held:
                there[reservation.id]["until"] = time.time() + self.lease
        return {r.id for r in reservations} - {r.id for r in held}

    def recover(self, limit, *, late=0.0):
        with stored(self.settings) as there:
            stuck = [job for job in there.values() if state_of(job) is State.STUCK]
            dead = [job for job in stuck if job["until"] + late < time.time()]
            return [self.take(job) for job in dead[:limit]]

    def unacknowledged(self, known):
        with stored(self.settings) as there:
            mine = [reserved(job) for job in there.values() if job["handle"][0] == self.me[0]]
        return [each for each in mine if each not in known]

    def reset_connection(self, error):
        """The file is opened for each call."""


class FileInspector(base.Inspector):
    """What operators see."""

    def counts(self, queue):
        waiting, delayed, reserved, stuck = (self.peek(queue, state, None) for state in State)
        oldest = min((job.available_at for job in waiting), default=None)
        return base.QueueCounts(len(waiting), len(delayed), len(reserved + stuck), oldest)

    def queues(self):
        with stored(self.settings) as there:
            return sorted({self.settings.queue, *(job["queue"] for job in there.values())})

    def peek(self, queue, state, limit=20, after=None):
        with stored(self.settings) as there:
            jobs = [describe(job) for job in select(there, queue, state)]
        start = next((number for number, job in enumerate(jobs, 1) if job.id == after), 0)
        return jobs[start:][:limit]

    def find(self, ids):
        with stored(self.settings) as there:
            return [describe(there[id]) for id in ids if id in there]

    def remove(self, queue, ids, *, even_running=False):
        states = [state for state in State if even_running or state is not State.RESERVED]
        with stored(self.settings) as there:
            gone = [job["id"] for job in select(there, queue, *states) if job["id"] in ids]
            return len([there.pop(id) for id in gone])

    def release(self, queue, ids):
        with stored(self.settings) as there:
            held = [reserved(job) for job in select(there, queue, State.STUCK)]
            stuck = [Settlement(each, Verdict.INTERRUPTED) for each in held if each.id in ids]
            return sum(settle(there, each) for each in stuck)

    def clear(self, queue):
        idle = [*self.peek(queue, State.WAITING, None), *self.peek(queue, State.DELAYED, None)]
        return self.remove(queue, [job.id for job in idle])


@contextmanager
def stored(settings):
    """All jobs by id, for us alone inside the block; what it changes is kept when it ends."""
    path = Path(settings.option("PATH"))
    try:
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = path.read_text() if path.exists() else "{}"
            yield (jobs := json.loads(before))
            if (after := json.dumps(jobs)) != before:
                with path.with_suffix(".new").open("w") as new:
                    print(after, file=new, end="", flush=True)
                    os.fsync(new.fileno())  # what was pushed survives a power cut
                path.with_suffix(".new").replace(path)
    except OSError as error:
        raise QueueUnavailable(f"{path} cannot be used: {error}.") from error


def state_of(job):
    if job["until"]:
        return State.STUCK if job["until"] < time.time() else State.RESERVED
    return State.DELAYED if job["available"] > time.time() else State.WAITING


def select(stored, queue, *states):
    """Jobs in the order that is promised to users; a dict keeps the order of dispatch."""
    jobs = [job for job in stored.values() if job["queue"] == queue and state_of(job) in states]
    return sorted(jobs, key=lambda job: (-job["priority"], job["available"]))


def settle(stored, settlement):
    """Whether the reservation is still the job's; otherwise nothing changes."""
    held, verdict, delay, charged, history = settlement
    if stored.get(held.id, NEW)["handle"] != held.handle:
        return False
    job = stored.pop(held.id) if verdict is Verdict.REMOVE else stored[held.id]
    job |= FREE
    if verdict is Verdict.RELEASE:
        job["available"] = time.time() + delay
    job["attempt"] -= verdict is not Verdict.RELEASE or not charged
    job["interruptions"] += verdict is Verdict.INTERRUPTED
    job["history"] = job["history"] if history is None else history
    return True


def reserved(job):
    return Reservation(**{name: job[name] for name in Reservation._fields})


def describe(job):
    """A job as operators see it."""
    text = [job[key] for key in ("id", "queue", "name", "payload")]
    numbers = [job[key] for key in ("attempt", "interruptions", "priority")]
    times = [job[key] and datetime.fromtimestamp(job[key], timezone.utc) for key in TIMES]
    return base.StoredJob(*text, state_of(job), *numbers, *times, job["handle"][1])
