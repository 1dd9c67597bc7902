"""What a project should know about its beanstalkd: settings that cannot work, and the banner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core import checks

from djqueue.drivers.beanstalkd import client
from djqueue.drivers.beanstalkd.client import Client
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

SHORTEST_LEASE = 10
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "HOST": (str, "a host name or address"),
    "PORT": (int, "a number"),
    "TIMEOUT": ((int, float), "a number of seconds"),
    "BLOCK_FOR": ((int, type(None)), "a whole number of seconds, or 0 to poll"),
    "MAX_JOB_SIZE": (int, "a number of bytes, as beanstalkd was given with -z"),
    "WINDOW": (int, "a number of jobs"),
    "DATABASE": ((str, type(None)), "an alias of DATABASES"),
}


def check(settings: ConnectionSettings) -> Iterator[checks.CheckMessage]:
    """Messages about the keys of one connection."""
    where = f'DJQUEUE["CONNECTIONS"]["{settings.name}"]'
    for key, (kind, words) in _KINDS.items():
        value: Any = settings.option(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            yield checks.Error(
                f'{where}["{key}"] is {value!r}, not {words}.',
                hint=f"Set it to {words}, or remove it to use the default.",
                id="djqueue.E003",
            )
    if settings.retry_after < SHORTEST_LEASE:
        yield checks.Error(
            f'{where}["RETRY_AFTER"] is {settings.retry_after:g}, and beanstalkd stops handing out '
            "anything in the last second of a reservation.",
            hint=f"Set it to {SHORTEST_LEASE} or more: it is renewed as long as the worker lives, "
            "however long the job takes.",
            id="djqueue.E020",
        )


def warnings(connection: Client, settings: ConnectionSettings) -> Iterator[str]:
    """What a worker's banner says about the server."""
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
