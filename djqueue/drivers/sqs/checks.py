"""What a project should know about its SQS: settings that cannot work, and the banner."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.core import checks

from djqueue.drivers.sqs.client import LEAST_PATIENCE, Client, is_fifo
from djqueue.errors import QueueError

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

LARGEST = 1 << 20
LONGEST_LEASE = int(11.5 * 3600)
SHORT_LEASE = 16
"""Seconds; of less, an eighth is no time for a request that crosses a network and is repeated, and
too little for one that waits for a message."""
FEW_RECEIVES = 100
FORTNIGHT = 14 * 86400

_NONE = type(None)
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "REGION": ((str, _NONE), "a region, such as ap-northeast-1"),
    "PREFIX": ((str,), "the beginning of the queues' URLs"),
    "SUFFIX": ((str,), "a text"),
    "URLS": ((dict,), "a dict of queues to their URLs"),
    "ENDPOINT_URL": ((str, _NONE), "a URL"),
    "PROFILE": ((str, _NONE), "the name of a profile in ~/.aws"),
    "WAIT": ((int,), "0 or 1 second"),
    "DATABASE": ((str, _NONE), "an alias of DATABASES"),
    "MAX_MESSAGE_SIZE": ((int,), "a number of bytes"),
    "WINDOW": ((int,), "a number of jobs"),
}


def check(settings: ConnectionSettings) -> Iterator[checks.CheckMessage]:
    """Messages about the keys of one connection."""
    where = f'DJQUEUE["CONNECTIONS"]["{settings.name}"]'
    wrong = [
        _wrong(f'{where}["{key}"]', settings.option(key), words)
        for key, (kinds, words) in _KINDS.items()
        if not _fits(key, settings.option(key), kinds)
    ]
    yield from wrong
    if wrong:
        return
    if not 1 <= settings.retry_after <= LONGEST_LEASE:
        yield checks.Error(
            f'{where}["RETRY_AFTER"] is {settings.retry_after:g} seconds, and SQS hides a message '
            f"for 1 to {LONGEST_LEASE}.",
            hint="Choose a minute or two: it is renewed as long as the worker lives.",
            id="djqueue.E021",
        )
    elif settings.retry_after < SHORT_LEASE:
        yield checks.Warning(
            f'{where}["RETRY_AFTER"] is {settings.retry_after:g} seconds. A worker gives up a call '
            f"to SQS after {max(settings.retry_after / 8, LEAST_PATIENCE):g} s then, so that slow "
            "ones may cost it its jobs.",
            hint=f"Choose a minute or two, {SHORT_LEASE} at least: it is renewed as long as the "
            "worker lives, however long a job takes.",
            id="djqueue.W021",
        )
    urls = [settings.option("PREFIX"), *settings.option("URLS").values()]
    for url in filter(None, urls):
        if not str(url).startswith(("https://", "http://")):
            yield checks.Error(
                f'"{url}" in {where} is not a URL.',
                hint="PREFIX and URLS begin with https://, as SQS tells them: "
                "https://sqs.<region>.amazonaws.com/<account>.",
                id="djqueue.E022",
            )


def _fits(key: str, value: Any, kinds: tuple[type, ...]) -> bool:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    if key == "WAIT":
        return value in (0, 1)
    return key != "MAX_MESSAGE_SIZE" or 4096 <= int(str(value)) <= LARGEST


def _wrong(what: str, value: Any, words: str) -> checks.CheckMessage:
    return checks.Error(
        f"{what} is {value!r}, not {words}.",
        hint=f"Set it to {words}, or remove it to use the default.",
        id="djqueue.E003",
    )


def warnings(client: Client, queue: str) -> Iterator[str]:
    """What is to be said about one queue, as SQS has it."""
    try:
        url = client.url(queue)
        attributes = client.attributes(url)
    except QueueError as error:
        yield str(error)
        return
    yield from _redrive(queue, attributes)
    kept = int(attributes.get("MessageRetentionPeriod", FORTNIGHT))
    if kept < FORTNIGHT:
        yield (
            f"SQS drops what has been in {queue} for {kept / 86400:g} days without a notice. Set "
            f"its MessageRetentionPeriod to {FORTNIGHT} (14 days), the most there is."
        )
    if is_fifo(url) and attributes.get("FifoQueue") == "false":
        yield f"{queue} is called .fifo, and is not a FIFO queue."


def _redrive(queue: str, attributes: Mapping[str, str]) -> Iterator[str]:
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        receives = int(policy.get("maxReceiveCount", 0))
    except (ValueError, AttributeError):
        return
    if 0 < receives < FEW_RECEIVES:
        yield (
            f"SQS moves a message of {queue} to {policy.get('deadLetterTargetArn')} when it has "
            f"been received {receives} times. Retries, interruptions and jobs that are handed back "
            "count too, and djqueue would never know what became of it: raise maxReceiveCount to "
            f"{FEW_RECEIVES} or more. Failed jobs are kept in the database anyway."
        )
