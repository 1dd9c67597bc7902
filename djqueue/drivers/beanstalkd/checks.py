"""What a project should know about its beanstalkd: settings that cannot work, and the banner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.core import checks

from djqueue.drivers.beanstalkd import client
from djqueue.drivers.beanstalkd.client import Client
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

SHORTEST_LEASE = 10


def check(settings: ConnectionSettings) -> Iterator[checks.CheckMessage]:
    """Return messages about the keys of one connection."""
    if settings.retry_after < SHORTEST_LEASE:
        yield checks.Error(
            f'{settings.place}["RETRY_AFTER"] is {settings.retry_after:g}, and beanstalkd stops '
            "handing out anything in the last second of a reservation.",
            hint=f"Set it to {SHORTEST_LEASE} or more: it is renewed as long as the worker lives, "
            "however long the job takes.",
            id="djqueue.E020",
        )


def warnings(connection: Client, settings: ConnectionSettings) -> Iterator[str]:
    """Return what a worker's banner says about the server."""
    try:
        stats, by_id = connection.ask([client.STATS, client.reserve_job(0)])
    except QueueUnavailable as error:
        yield str(error)
        return
    server = stats.pairs()
    if server.get("binlog-current-index", "0") == "0":
        yield (
            f"{connection} keeps jobs in memory only: all of them are lost when it stops. Start it "
            "with -b FOLDER, and with -f 0 to survive a power cut too."
        )
    limit, wanted = int(server.get("max-job-size", 0)), int(settings.option("MAX_JOB_SIZE"))
    if limit and limit < wanted:
        yield (
            f"{connection} takes jobs of at most {limit:,} bytes, and MAX_JOB_SIZE is {wanted:,}: "
            f"start it with -z {wanted}, or lower MAX_JOB_SIZE."
        )
    if by_id.word == "UNKNOWN_COMMAND":
        yield (f"{connection} is older than 1.12: new jobs are found by polling (--sleep).")
    buried = int(server.get("current-jobs-buried", 0))
    if buried:
        yield f"{connection} holds {buried} buried jobs, which no worker takes: see `kick`."
