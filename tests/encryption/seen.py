"""All that can be read of encrypted jobs without a key: tables, stores, pages, output, logs."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from djqueue import queues
from djqueue.models import FailedJob, JobResult, QueuedJob
from tests.admin import support

MARK = "pl41ntext-of-Ada"
"""What must be nowhere."""
COMMANDS = (
    ("queue_jobs",),
    ("queue_jobs", "--json"),
    ("queue_export", "jobs", "--json"),
    ("queue_failed",),
    ("queue_failed", "--json"),
    ("queue_export", "failed", "--json"),
    ("queue_status",),
    ("queue_batches",),
    ("queue_workers",),
    ("queue_dispatch", "--list"),
)
_PACKED = re.compile(rb"[A-Za-z0-9+/_=-]{24,}")


def reveals(data: Any) -> bool:
    """Return whether the mark can be read in a value, also where that is compressed or encoded."""
    if not isinstance(data, (str, bytes, memoryview)):
        data = repr(data)
    raw = data.encode(errors="replace") if isinstance(data, str) else bytes(data)
    return any(MARK.encode() in each for each in _readings(raw))


def _readings(raw: bytes) -> Iterator[bytes]:
    yield raw
    yield from _inflated(raw)
    for found in _PACKED.findall(raw):
        for alternative in (b"+/", b"-_"):
            try:
                decoded = base64.b64decode(found + b"=" * (-len(found) % 4), altchars=alternative)
            except ValueError:
                continue
            yield decoded
            yield from _inflated(decoded)


def _inflated(raw: bytes) -> Iterator[bytes]:
    try:
        yield zlib.decompress(raw)
    except zlib.error:
        return


def tables(*aliases: str) -> Iterator[tuple[str, Any]]:
    """Every value of every table of these databases."""
    for connection in (connections[alias] for alias in aliases):
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                for row in cursor.fetchall():
                    for value in row:
                        yield f"table {table}", value


def redis(client: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of a Redis server."""
    for key in client.scan_iter():
        yield "key", key
        kind = client.type(key).decode()
        read = {
            "string": lambda key: [client.get(key)],
            "hash": lambda key: [each for pair in client.hgetall(key).items() for each in pair],
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1),
        }[kind]
        for value in read(key):
            yield f"value of {key!r}", value


def pages(user: Any) -> Iterator[tuple[str, Any]]:
    """Every page of the admin about jobs."""
    client = Client()
    client.force_login(user)
    paths = [support.OVERVIEW, support.JOBS, support.FAILED, support.WORKERS, support.BATCHES]
    paths += [support.RESULTS, support.PARKED]
    paths += [f"{support.FAILED}{row.pk}/change/" for row in FailedJob.objects.all()]
    paths += [f"{support.RESULTS}{row.pk}/change/" for row in JobResult.objects.all()]
    paths += [f"{support.JOBS}{row.pk}/change/" for row in QueuedJob.objects.all()]
    paths += [f"{support.JOBS}{row.uuid}/change/" for row in QueuedJob.objects.all()]
    for path in paths:
        answer = client.get(path, follow=True)
        assert answer.status_code in (200, 404), path
        yield f"page {path}", answer.content


def output(ids: list[str]) -> Iterator[tuple[str, Any]]:
    """What the commands write that show jobs."""
    about = [(command, id) for id in ids for command in ("queue_show", "queue_why")]
    about += [("queue_show", id, "--json") for id in ids]
    for command in (*COMMANDS, *about):
        out, err = StringIO(), StringIO()
        try:
            call_command(*command, stdout=out, stderr=err)
        except CommandError as error:
            yield f"error of {command}", str(error)
        yield f"output of {command}", out.getvalue() + err.getvalue()


def peeked(connection: str) -> Iterator[tuple[str, Any]]:
    """What a store has, as operators look at it."""
    for state in ("waiting", "delayed", "reserved"):
        for job in queues[connection].peek("default", state=state):
            yield f"{state} in {connection}", job


def found(*places: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Where the mark can be read."""
    return [(place, value) for each in places for place, value in each if reveals(value)]
