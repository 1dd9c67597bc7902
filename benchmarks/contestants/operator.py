"""An operator of djqueue at the admin: how long each page takes, and what is done to all rows."""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.agent import STORE
from benchmarks.contestants import djqueue

LOOKS = 5
"""Each page is asked for so often; its figure is the median."""
LONG = 8 * 1024
"""Characters of a payload, and of a traceback."""
CHUNK = 2_000
NAMES = [f"shop.jobs.Job{number}" for number in range(20)]
QUEUES = ("default", "mail", "pdf", "slow")
ADMIN = "/admin/djqueue/"


class Contestant(djqueue.Contestant):
    """The project's own admin, asked by Django's test client."""

    def __init__(self, store: dict[str, Any]) -> None:
        os.environ[STORE] = json.dumps({**store, "alone": True})  # a project with one connection
        super().__init__(store)

    # -- rows ----------------------------------------------------------------------------------

    def fill(self, failed: int, waiting: int, delayed: int) -> None:
        """Write failed jobs, jobs that wait and delayed ones, and gather statistics."""
        from django.db import connection

        if self._vendor == "sqlite":
            self.sql("PRAGMA synchronous=OFF")
        self._text = _text()
        self._bulk(self._failed(), failed)
        self._bulk(self._stored(delayed=False), waiting)
        self._bulk(self._stored(delayed=True), delayed)
        if self._vendor == "postgresql":
            connection.set_autocommit(True)
            self.sql("VACUUM ANALYZE failed_jobs", "VACUUM ANALYZE jobs")
        else:
            self.sql("ANALYZE", "PRAGMA synchronous=NORMAL", "PRAGMA wal_checkpoint(TRUNCATE)")

    def _bulk(self, rows: Iterator[Any], count: int) -> None:
        for begin in range(0, count, CHUNK):
            some = [next(rows) for _ in range(min(CHUNK, count - begin))]
            type(some[0]).objects.bulk_create(some)

    def _payload(self, name: str, id: uuid.UUID) -> str:
        from djqueue.payload import payload

        head = payload.encode_head(name, payload.Limits(tries=3))
        begin = random.randrange(len(self._text) - LONG)
        body = {"order": begin, "text": self._text[begin : begin + LONG - 200]}
        return payload.encode(head, str(id), 1_790_000_000.0, body)

    def _failed(self) -> Iterator[Any]:
        from djqueue.models import FailedJob

        now = datetime.now(timezone.utc)
        while True:
            id, name, kind = uuid.uuid4(), random.choice(NAMES), random.randrange(12)
            begin = random.randrange(len(self._text) - LONG)
            yield FailedJob(
                uuid=id,
                connection="main",
                queue=random.choice(QUEUES),
                payload=self._payload(name, id),
                exception=self._text[begin : begin + LONG],
                failed_at=now - timedelta(seconds=random.random() * 10 * 86400),
                name=name,
                attempts=3,
                exception_class=f"shop.errors.Error{kind}",
                exception_message=f"Order {begin} could not be sent",
                fingerprint=f"{hash((name, kind)) & (2**160 - 1):040x}",
                history="",
            )

    def _stored(self, *, delayed: bool) -> Iterator[Any]:
        from djqueue.models import QueuedJob

        now = datetime.now(timezone.utc)
        while True:
            id, name = uuid.uuid4(), random.choice(NAMES)
            away = timedelta(hours=1, seconds=random.random() * 86400)
            yield QueuedJob(
                uuid=id,
                queue=random.choice(QUEUES),
                name=name,
                payload=self._payload(name, id),
                line=None if delayed else 0,
                available_at=now + away if delayed else now - away,
                created_at=now - away,
            )

    def fill_store(self, count: int) -> None:
        """Dispatch jobs of about 250 bytes to a store that is no database."""
        from benchmarks.project.jobs import Noop
        from djqueue import dispatch_many

        dispatch_many(Noop(number).using(tags=["t" * 100]) for number in range(count))

    def addresses_in_store(self) -> dict[str, str]:
        """Return the pages about the jobs of such a store."""
        from djqueue import queues

        [job] = queues["main"].peek("default", limit=1)
        jobs = f"{ADMIN}queuedjob/?connection=main"
        return {
            "overview": f"{ADMIN}overview/",
            "jobs": jobs,
            "jobs: waiting": f"{jobs}&state=waiting",
            "jobs: delayed": f"{jobs}&state=delayed",
            "jobs: stuck": f"{jobs}&state=stuck",
            "jobs: queue": f"{jobs}&queue=default",
            "jobs: page 50": f"{jobs}&p=50",
            "jobs: whole id": f"{jobs}&q={job.id}",
            "jobs: end of an id": f"{jobs}&q=id:{job.id[-8:]}",
            "jobs: job:": f"{jobs}&q=job:Noop",
            "jobs: job: that none is": f"{jobs}&q=job:Nothing",
            "page of one": f"{ADMIN}queuedjob/{job.id}/change/?connection=main",
        }

    def look_in_store(self, address: str) -> dict[str, float]:
        """Do as `look`, with the longest time that Redis was busy with one command of it."""
        from redis import Redis

        server = Redis(host=self.store["host"], port=self.store["port"])
        server.config_set("slowlog-log-slower-than", 0)
        server.config_set("slowlog-max-len", 100_000)
        server.slowlog_reset()
        found = self.look(address)
        slowest = max((each["duration"] for each in server.slowlog_get(100_000)), default=0)
        return {**found, "script": slowest / 1000}

    def count(self, statement: str) -> int:
        """Return the number that a statement gives."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    # -- pages ---------------------------------------------------------------------------------

    def addresses(self) -> dict[str, str]:
        """Return every list, filter, search and page, by what it is."""
        from djqueue.models import FailedJob, QueuedJob

        failed, job = FailedJob.objects.order_by("-pk").first(), QueuedJob.objects.first()
        lists = {
            f"{what}: {words}": f"{ADMIN}{model}/{query}"
            for what, model, queries in (
                ("failed", "failedjob", _FAILED),
                ("jobs", "queuedjob", _JOBS),
            )
            for words, query in queries.items()
        }
        print_ = failed.fingerprint if failed else "0" * 40
        lists["failed: group"] = f"{ADMIN}failedjob/?group={print_}"
        for what, model, row in (("failed", "failedjob", failed), ("jobs", "queuedjob", job)):
            id = str(row.uuid) if row else str(uuid.uuid4())
            lists[f"{what}: whole id"] = f"{ADMIN}{model}/?q={id}"
            lists[f"{what}: end of an id"] = f"{ADMIN}{model}/?q={id[-8:]}"
            if row:
                lists[f"{what}: page of one"] = f"{ADMIN}{model}/{row.pk}/change/"
        return {
            **lists,
            "overview": f"{ADMIN}overview/",
            "workers": f"{ADMIN}worker/",
            "batches": f"{ADMIN}jobbatch/",
            "results": f"{ADMIN}jobresult/",
        }

    def look(self, address: str) -> dict[str, float]:
        """Ask for a page: the median of its milliseconds, those of processors, its statements."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        from djqueue.admin.overview import reading

        reading.KEEP_FOR = 0.0  # each look asks the stores
        browser = self._browser()
        browser.get(address)
        taken, spent = [], self._processor_seconds()
        for _ in range(LOOKS):
            began = time.perf_counter()
            answer = browser.get(address)
            taken.append((time.perf_counter() - began) * 1000)
            if answer.status_code != 200:
                raise RuntimeError(f"{address}: {answer.status_code}")
        spent = self._processor_seconds() - spent
        with CaptureQueriesContext(connection) as queries:
            browser.get(address)
        slowest = max(queries, key=lambda each: float(each["time"]), default={"sql": "", "time": 0})
        return {
            "ms": statistics.median(taken),
            "processor": spent / LOOKS * 1000,
            "queries": len(queries),
            "kilobytes": len(answer.content) / 1000,
            "slowest": float(slowest["time"]) * 1000,
        }

    def explain(self, address: str) -> list[tuple[str, str]]:
        """Return the statements of a page, and how long each took."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        browser = self._browser()
        with CaptureQueriesContext(connection) as queries:
            browser.get(address)
        return [(each["time"], each["sql"]) for each in queries]

    def _browser(self) -> Any:
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.test import Client

        settings.ALLOWED_HOSTS = ["*"]
        user, _new = User.objects.get_or_create(
            username="anna", defaults={"is_staff": True, "is_superuser": True}
        )
        browser = Client()
        browser.force_login(user)
        return browser

    # -- everything ----------------------------------------------------------------------------

    def act(self, model: str, verb: str, query: str = "") -> dict[str, float]:
        """Do a verb to all rows of a list, with a new browser for each step: the rate, and the
        megabytes by which the process has grown.
        """
        browser = self._browser()
        url = f"{ADMIN}{model}/all/{verb}/{query}"
        asked = browser.post(url)
        newest = re.search(r'name="newest" value="(\d+)"', asked.content.decode())
        fields = {"confirmed": "yes", "newest": newest[1] if newest else "0"}
        before = most = djqueue._megabytes()
        table = {"failedjob": "failed_jobs", "queuedjob": "jobs"}[model]
        rows = self.count(f"SELECT COUNT(*) FROM {table}")
        began, spent = time.perf_counter(), self._processor_seconds()
        answer = browser.post(url, fields)
        while "/bulk/" in answer["Location"]:
            most = max(most, djqueue._megabytes())
            answer = self._browser().post(answer["Location"].partition("?")[0])
        taken = time.perf_counter() - began
        done = rows - self.count(f"SELECT COUNT(*) FROM {table}")
        cpu = self._processor_seconds() - spent
        return {
            "rate": done / taken,
            "seconds": taken,
            "processor": cpu / max(done, 1) * 1000,
            "grown": most - before,
            "rows": done,
        }

    def _processor_seconds(self) -> float:
        """Of this process, and of the server's that answers it where it has one."""
        if self._vendor != "postgresql":
            return time.process_time()
        backend = Path(f"/proc/{self.count('SELECT pg_backend_pid()')}/stat").read_text()
        user, system = backend.rpartition(")")[2].split()[11:13]
        ticks = os.sysconf("SC_CLK_TCK")
        return time.process_time() + (int(user) + int(system)) / ticks


_FAILED = {
    "list": "",
    "page 100": "?p=100",
    "by time": "?o=5",
    "queue": "?queue=mail",
    "connection": "?connection=main",
    "queue of a connection": "?connection=main&queue=mail",
    "job": "?job=shop.jobs.Job3",
    "exception": "?exception=shop.errors.Error3",
    "15 minutes": "?failed=15m",
    "7 days": "?failed=7d",
    "earlier": "?failed=older",
    "word": "?q=could",
    "word that none has": "?q=zebra",
    "job:": "?q=job:Job3",
    "job: that none is": "?q=job:Nothing",
    "exc:": "?q=exc:Error3",
    "arg:": "?q=arg:order=42",
}
_JOBS = {
    "list": "",
    "page 100": "?p=100",
    "waiting": "?state=waiting",
    "delayed": "?state=delayed",
    "running": "?state=running",
    "stuck": "?state=stuck",
    "queue": "?queue=mail",
    "waiting in a queue": "?queue=mail&state=waiting",
    "word": "?q=Job3",
    "word that none has": "?q=zebra",
    "job:": "?q=job:Job3",
    "job: that none is": "?q=job:Nothing",
    "tag: that none has": "?q=tag:nothing",
}


def _text() -> str:
    """Return a text that compresses as tracebacks do, about one to four."""
    seeded = random.Random(1)
    words = ["".join(seeded.choices("abcdefghijklmnop_", k=9)) for _ in range(400)]
    return " ".join(seeded.choices(words, k=60_000))
